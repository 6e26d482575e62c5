//! Patterns of `java.util.regex`, run by `fancy-regex`: what is written alike but means something else is translated, and what has no
//! counterpart is refused with its name.
//!
//! One difference is left on purpose: `.` does not match `\n` alone, where Java leaves out five kinds of line end. Names of topics
//! and connectors have none of them.

use fancy_regex::Regex;
use std::fmt::Write;

/// A Java pattern, ready to match whole texts as `Matcher.matches` does.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The pattern from the text's start to its end.
    whole: Regex,
    /// The pattern anywhere: what `Matcher.find` looks for.
    anywhere: Regex,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn new(java: &str) -> Result<Self, String> {
        let translated = translate(java)?;
        let anywhere = Regex::new(&translated).map_err(|e| e.to_string())?;
        // A comment in a pattern with (?x) must not swallow the bracket.
        let line_end = if translated.contains("(?") && translated.contains('#') { "\n" } else { "" };
        let whole = Regex::new(&format!(r"\A(?:{translated}{line_end})\z")).map_err(|e| e.to_string())?;
        Ok(Self { whole, anywhere })
    }

    /// Whether the whole text matches.
    ///
    /// # Errors
    /// When the pattern needs too much backtracking for this text.
    pub fn matches(&self, text: &str) -> Result<bool, String> {
        self.whole.is_match(text).map_err(|e| e.to_string())
    }

    /// `fancy-regex`'s form of the whole match, for those who keep such a one.
    #[must_use]
    pub fn into_whole(self) -> Regex {
        self.whole
    }

    /// `Matcher.replaceFirst`: the first place the pattern is found, which need not be all of the text even where
    /// [`matches`](Self::matches) says yes.
    ///
    /// # Errors
    /// When the pattern needs too much backtracking for this text.
    pub fn replace_first(&self, text: &str, replacement: &Replacement) -> Result<String, String> {
        let Some(found) = self.anywhere.captures(text).map_err(|e| e.to_string())? else {
            return Ok(text.to_owned());
        };
        let whole = found.get(0).expect("group 0 takes part in every match");
        let mut out = text[..whole.start()].to_owned();
        for part in &replacement.parts {
            match part {
                Part::Text(literal) => out.push_str(literal),
                Part::Group(number) => out.push_str(found.get(*number).map_or("", |group| group.as_str())),
            }
        }
        out.push_str(&text[whole.end()..]);
        Ok(out)
    }

    fn group_named(&self, name: &str) -> Option<usize> {
        self.anywhere.capture_names().position(|n| n == Some(name))
    }
}

/// A replacement as `Matcher.appendReplacement` reads it: `$1`, `${name}`, and a backslash before what is meant literally.
#[derive(Clone, Debug)]
pub struct Replacement {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Group(usize),
}

impl Replacement {
    /// Reads a replacement for matches of `pattern`. Java finds its mistakes at the first match only.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn new(text: &str, pattern: &Pattern) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let group = match c {
                '\\' => {
                    literal.push(rest.next().ok_or("character to be escaped is missing")?);
                    continue;
                }
                '$' => group(&mut rest, pattern)?,
                other => {
                    literal.push(other);
                    continue;
                }
            };
            parts.push(Part::Text(std::mem::take(&mut literal)));
            parts.push(Part::Group(group));
        }
        parts.push(Part::Text(literal));
        Ok(Self { parts })
    }
}

/// Reads what follows a `$`.
fn group(rest: &mut std::str::Chars<'_>, pattern: &Pattern) -> Result<usize, String> {
    if let Some(after) = rest.as_str().strip_prefix('{') {
        let (name, after) = after.split_once('}').ok_or("named capturing group is missing trailing '}'")?;
        *rest = after.chars();
        return pattern.group_named(name).ok_or_else(|| format!("No group with name {{{name}}}"));
    }
    let digit = |rest: &std::str::Chars<'_>| rest.as_str().chars().next().and_then(|c| c.to_digit(10)).map(|d| d as usize);
    let mut number = digit(rest).ok_or("Illegal group reference: write \\$ for a dollar sign")?;
    rest.next();
    let groups = pattern.anywhere.captures_len() - 1;
    if number > groups {
        return Err(format!("No group {number}"));
    }
    // More digits belong to the number as long as there is such a group.
    while let Some(longer) = digit(rest).map(|d| number * 10 + d).filter(|n| *n <= groups) {
        number = longer;
        rest.next();
    }
    Ok(number)
}

/// Writes a Java pattern as one of `fancy-regex`.
fn translate(java: &str) -> Result<String, String> {
    let mut out = String::with_capacity(java.len() + 8);
    let mut class_depth = 0_usize;
    let mut rest = java.chars();
    let mut before = None;
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, class_depth > 0, &mut out)?,
            '[' => {
                class_depth += 1;
                out.push(c);
                if let Some(after) = rest.as_str().strip_prefix('^') {
                    rest = after.chars();
                    out.push('^');
                }
                // A bracket that would close an empty class stands for itself.
                if let Some(after) = rest.as_str().strip_prefix(']') {
                    rest = after.chars();
                    out.push_str(r"\]");
                }
            }
            ']' if class_depth > 0 => {
                class_depth -= 1;
                out.push(c);
            }
            // Set operators there, plain characters in Java.
            '-' | '~' if class_depth > 0 && before == Some(c) => {
                out.push('\\');
                out.push(c);
            }
            '(' if class_depth == 0 && rest.as_str().starts_with('?') => {
                out.push(c);
                flags(&mut rest, &mut out)?;
            }
            other => out.push(other),
        }
        before = Some(c);
    }
    Ok(out)
}

/// Reads what follows `(?` as far as it may be flags; groups of other kinds are written alike in both.
fn flags(rest: &mut std::str::Chars<'_>, out: &mut String) -> Result<(), String> {
    let text = rest.as_str();
    let Some(end) = text.find([':', ')']) else { return Ok(()) };
    let flags = &text[1..end];
    if flags.is_empty() || !flags.chars().all(|c| c.is_ascii_alphabetic() || c == '-') {
        return Ok(());
    }
    if let Some(unknown) = flags.chars().find(|c| !"idmsuxU-".contains(*c)) {
        return Err(format!("unknown inline flag {unknown}"));
    }
    if flags.contains('U') {
        return Err("the flag U (UNICODE_CHARACTER_CLASS) is not supported".into());
    }
    // d and u change what only line ends and letters beyond ASCII would show.
    let kept: String = flags.chars().filter(|c| !"du".contains(*c)).collect();
    *rest = text[end..].chars();
    match kept.trim_end_matches('-') {
        // `(?)` is nothing to set, which is not allowed there.
        "" if rest.as_str().starts_with(')') => {
            rest.next();
            out.push_str("?:)");
        }
        kept => {
            out.push('?');
            out.push_str(kept);
        }
    }
    Ok(())
}

/// Reads what follows a backslash.
fn escape(rest: &mut std::str::Chars<'_>, in_class: bool, out: &mut String) -> Result<(), String> {
    let c = rest.next().ok_or("Unexpected internal error: the pattern ends with a backslash")?;
    let mut class = |negated: bool, items: &str| {
        // Inside brackets a class of its own is a union in both.
        out.push_str(if negated { "[^" } else { "[" });
        out.push_str(items);
        out.push(']');
    };
    match c {
        'd' => class(false, "0-9"),
        'D' => class(true, "0-9"),
        'w' => class(false, "a-zA-Z_0-9"),
        'W' => class(true, "a-zA-Z_0-9"),
        's' => class(false, r"\t\n\x0B\f\r\x20"),
        'S' => class(true, r"\t\n\x0B\f\r\x20"),
        'h' => class(false, HORIZONTAL),
        'H' => class(true, HORIZONTAL),
        'v' => class(false, r"\n\x0B\f\r\x{85}\x{2028}\x{2029}"),
        'V' => class(true, r"\n\x0B\f\r\x{85}\x{2028}\x{2029}"),
        'R' if !in_class => out.push_str(r"(?:\r\n|[\n\x0B\f\r\x{85}\x{2028}\x{2029}])"),
        'Q' => quoted(rest, out),
        'E' => {}
        'e' => out.push_str(r"\x1B"),
        'a' => out.push_str(r"\x07"),
        'c' => {
            let control = rest.next().ok_or("Illegal control escape sequence")?;
            push_char(out, (control as u32) ^ 64)?;
        }
        '0' => octal(rest, out)?,
        'u' => {
            let digits = rest.as_str().get(..4).ok_or("Illegal Unicode escape sequence")?;
            let code = u32::from_str_radix(digits, 16).map_err(|_| "Illegal Unicode escape sequence")?;
            *rest = rest.as_str()[4..].chars();
            push_char(out, code)?;
        }
        'p' | 'P' => property(rest, c == 'P', out)?,
        'N' | 'X' | 'C' | 'Y' => return Err(format!("\\{c} is not supported")),
        other => {
            out.push('\\');
            out.push(other);
        }
    }
    Ok(())
}

const HORIZONTAL: &str = r"\t\x20\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}";

/// Everything up to `\E` or the end, literally.
fn quoted(rest: &mut std::str::Chars<'_>, out: &mut String) {
    let text = rest.as_str();
    let (literal, after) = text.split_once(r"\E").unwrap_or((text, ""));
    out.push_str(&fancy_regex::escape(literal));
    *rest = after.chars();
}

/// One to three octal digits, at most 0377.
fn octal(rest: &mut std::str::Chars<'_>, out: &mut String) -> Result<(), String> {
    let text = rest.as_str();
    let longest = if text.starts_with(['0', '1', '2', '3']) { 3 } else { 2 };
    let length = text.bytes().take(longest).take_while(|b| (b'0'..=b'7').contains(b)).count();
    if length == 0 {
        return Err("Illegal octal escape sequence".into());
    }
    let code = u32::from_str_radix(&text[..length], 8).expect("only octal digits were taken");
    *rest = text[length..].chars();
    push_char(out, code)
}

fn push_char(out: &mut String, code: u32) -> Result<(), String> {
    let c = char::from_u32(code).ok_or_else(|| format!("\\u{code:04x} is half of a character: write the character itself"))?;
    write!(out, "\\x{{{:X}}}", u32::from(c)).expect("a string takes all text");
    Ok(())
}

/// `\p{...}`: POSIX names are ASCII in Java; Unicode names are known under `Is` there.
fn property(rest: &mut std::str::Chars<'_>, negated: bool, out: &mut String) -> Result<(), String> {
    let text = rest.as_str();
    let (name, after) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or("Unclosed character family")?,
        None => text.split_at(text.chars().next().map(char::len_utf8).ok_or("Unknown character property")?),
    };
    *rest = after.chars();
    let caret = if negated { "^" } else { "" };
    let posix = match name {
        "Lower" | "Upper" | "Alpha" | "Digit" | "Alnum" | "Punct" | "Graph" | "Print" | "Blank" | "Cntrl" | "XDigit"
        | "Space" | "ASCII" => name.to_ascii_lowercase(),
        _ => {
            if name.starts_with("In") || name.starts_with("java") || name.contains('=') {
                return Err(format!("the character property {{{name}}} is not supported"));
            }
            let name = name.strip_prefix("Is").unwrap_or(name);
            let p = if negated { 'P' } else { 'p' };
            write!(out, "\\{p}{{{name}}}").expect("a string takes all text");
            return Ok(());
        }
    };
    write!(out, "[[:{caret}{posix}:]]").expect("a string takes all text");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let read = Pattern::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        for text in yes {
            assert!(read.matches(text).unwrap(), "{pattern} should match {text:?}");
        }
        for text in no {
            assert!(!read.matches(text).unwrap(), "{pattern} should not match {text:?}");
        }
    }

    #[test]
    fn the_whole_text_must_match() {
        check("a|ab", &["a", "ab"], &["abc", "b", ""]);
        check("orders-.*", &["orders-", "orders-eu"], &["my-orders-eu"]);
        check("(?x) a b # c", &["ab"], &["a b # c"]);
    }

    #[test]
    fn java_writes_some_things_otherwise() {
        check(r"\d\w\s", &["1a ", "9_\t"], &["٣a ", "1ä ", "1a\u{a0}"]);
        check(r"[\d.-]+", &["1.2-3"], &["a"]);
        check(r"[^\W_]+", &["aB9"], &["a_b"]);
        check(r"\h", &[" ", "\u{a0}"], &["a", "f"]);
        check(r"\Qa.b\E.", &["a.bc"], &["axbc", "a.b"]);
        check(r"\Qa.b", &["a.b"], &["axb"]);
        check(r"\p{Alpha}\p{Digit}\P{Punct}", &["a1b"], &["ä1b", "a1."]);
        check(r"\p{Lu}\pL\p{IsLatin}", &["Äbc"], &["äbc"]);
        check(r"\0101\x41\u0041\cA", &["AAA\u{1}"], &["AAAA"]);
        check(r"[]a]+", &["]a"], &["b"]);
        check("[a-z&&[^bc]]+", &["adz"], &["ab"]);
        check("[+--]+", &["+,-"], &["."]);
        check("(?i)AbC", &["aBc"], &["abd"]);
        check("(?iu)AbC(?d)", &["aBc"], &[]);
        check("(a+)-\\1", &["aa-aa"], &["aa-a"]);
        check("(?<n>a)\\k<n>", &["aa"], &["ab"]);
        check("a*+b", &["aab"], &["aa"]);
        check("(?!b).*", &["a"], &["b"]);
    }

    #[test]
    fn what_has_no_counterpart_is_refused() {
        for pattern in ["(a", "[a", "*", r"\", r"\N{DASH}", r"\p{InGreek}", r"\p{javaLowerCase}", "(?U)a", r"\p{", "(?q)a"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[track_caller]
    fn check_replace(pattern: &str, replacement: &str, text: &str, expected: &str) {
        let pattern = Pattern::new(pattern).unwrap();
        let replacement = Replacement::new(replacement, &pattern).unwrap();
        assert_eq!(pattern.replace_first(text, &replacement).unwrap(), expected);
    }

    #[test]
    fn replacements_are_read_as_java_reads_them() {
        check_replace("(.*)-(.*)", "$2.$1", "a-b", "b.a");
        check_replace("(?<x>.)(.)", "${x}!$0$2", "ab", "a!abb");
        check_replace("(.).*", "$12", "ab", "a2");
        check_replace("(a)|b", "<$1>", "b", "<>");
        check_replace(".*", r"\$1\\", "ab", r"$1\");
        // Found is the first branch, though the second matches the whole.
        check_replace("a|ab", "X", "ab", "Xb");
    }

    #[test]
    fn wrong_replacements_are_refused() {
        let pattern = Pattern::new("(a)").unwrap();
        for text in ["$", "$x", "${x}", "${", "$2", "\\"] {
            assert!(Replacement::new(text, &pattern).is_err(), "{text}");
        }
    }
}
