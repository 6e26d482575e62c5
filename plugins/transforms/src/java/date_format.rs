//! `SimpleDateFormat` in UTC with English names, lenient as it is by default.
//!
//! Refused are the week letters `Y`, `w` and `W`, whose meaning depends on the machine's locale. Zone names other than `UTC` and `GMT`
//! are not read.

use std::fmt::Write;

use super::calendar::{Civil, DAY_MS, day_of, weekday};

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const LETTERS: &str = "GyYMLwWDdFEuaHkKhmsSzZX";

/// A pattern, ready to write and read timestamps.
#[derive(Clone, Debug)]
pub(crate) struct DateFormat {
    pattern: String,
    items: Vec<Item>,
    /// Two-digit years lie within 100 years from here: 80 years before the format was made.
    century_start_ms: i64,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Text(String),
    Field(char, usize),
}

impl DateFormat {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in Java's words where Java refuses it too.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let now = chrono::Utc::now().timestamp_millis();
        let today = Civil::of_day(now.div_euclid(DAY_MS));
        let start = day_of(today.year - 80, i64::from(today.month) - 1, i64::from(today.day));
        let century_start_ms = start * DAY_MS + now.rem_euclid(DAY_MS);
        Ok(Self { pattern: pattern.to_owned(), items: compile(pattern)?, century_start_ms })
    }

    /// The pattern as written.
    pub(crate) fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Writes milliseconds since 1970-01-01T00:00Z.
    pub(crate) fn format(&self, millis: i64) -> String {
        let mut out = String::with_capacity(self.pattern.len() + 8);
        for item in &self.items {
            match item {
                Item::Text(text) => out.push_str(text),
                Item::Field(letter, count) => write_field(*letter, *count, millis, &mut out),
            }
        }
        out
    }

    /// Reads the beginning of a text as milliseconds since 1970-01-01T00:00Z; what stands behind it does not matter. `None` when it
    /// does not fit the pattern.
    pub(crate) fn parse(&self, text: &str) -> Option<i64> {
        let mut rest = text;
        let mut found = Found::default();
        for (at, item) in self.items.iter().enumerate() {
            match item {
                Item::Text(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Item::Field(letter, count) => {
                    rest = rest.trim_start_matches([' ', '\t']);
                    // A number directly before another field ends after as many digits as it has letters.
                    let abuts = matches!(self.items.get(at + 1), Some(Item::Field(..)));
                    rest = self.read_field(*letter, *count, abuts, rest, &mut found)?;
                }
            }
        }
        Some(found.millis())
    }

    fn read_field<'t>(&self, letter: char, count: usize, abuts: bool, text: &'t str, found: &mut Found) -> Option<&'t str> {
        match letter {
            'G' => {
                let (era, rest) = name(text, &["BC", "AD"])?;
                found.is_bc = era == 0;
                return Some(rest);
            }
            'M' | 'L' if count > 2 => {
                let (month, rest) = long_or_short_name(text, &MONTHS)?;
                found.set_month(month as i64);
                return Some(rest);
            }
            'E' => return long_or_short_name(text, &DAYS).map(|(_, rest)| rest),
            'a' => {
                let (half, rest) = name(text, &["AM", "PM"])?;
                found.is_pm = Some(half == 1);
                return Some(rest);
            }
            'z' | 'Z' | 'X' => {
                let (minutes, rest) = if letter == 'X' { iso_zone(text, count)? } else { zone(text)? };
                found.zone_min = minutes;
                return Some(rest);
            }
            _ => {}
        }
        let (number, rest) = number(text, if abuts { Some(count) } else { None })?;
        match letter {
            'y' => {
                let written = &text[..text.len() - rest.len()];
                let is_short = count <= 2 && written.len() == 2 && written.bytes().all(|b| b.is_ascii_digit());
                found.year = Some(number);
                found.is_short_year = is_short.then_some(self.century_start_ms);
            }
            'M' | 'L' => found.set_month(number - 1),
            'd' => found.set_day(number),
            'D' => found.day_of_year = Some(number),
            'H' => found.set_hour(number),
            'k' => found.set_hour(if number == 24 { 0 } else { number }),
            'K' => found.set_half_hour(number),
            'h' => found.set_half_hour(if number == 12 { 0 } else { number }),
            'm' => found.minute = number,
            's' => found.second = number,
            'S' => found.milli = number,
            // Days of the week and the like do not decide while there is a day of the month.
            _ => {}
        }
        Some(rest)
    }
}

fn compile(pattern: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut text = String::new();
    let mut chars = pattern.chars().peekable();
    let mut is_quoted = false;
    while let Some(c) = chars.next() {
        if c == '\'' {
            if chars.peek() == Some(&'\'') {
                chars.next();
                text.push('\'');
            } else {
                is_quoted = !is_quoted;
            }
        } else if is_quoted || !c.is_ascii_alphabetic() {
            text.push(c);
        } else {
            if !LETTERS.contains(c) {
                return Err(format!("Illegal pattern character '{c}'"));
            }
            if "YwW".contains(c) {
                return Err(format!("'{c}' is not supported: weeks depend on the machine's locale"));
            }
            let mut count = 1;
            while chars.next_if_eq(&c).is_some() {
                count += 1;
            }
            if c == 'X' && count > 3 {
                return Err(format!("invalid ISO 8601 format: length={count}"));
            }
            if !text.is_empty() {
                items.push(Item::Text(std::mem::take(&mut text)));
            }
            items.push(Item::Field(c, count));
        }
    }
    if is_quoted {
        return Err("Unterminated quote".into());
    }
    if !text.is_empty() {
        items.push(Item::Text(text));
    }
    Ok(items)
}

fn write_field(letter: char, count: usize, millis: i64, out: &mut String) {
    let (day, of_day) = (millis.div_euclid(DAY_MS), millis.rem_euclid(DAY_MS));
    let civil = Civil::of_day(day);
    let hour = of_day / 3_600_000;
    let year_of_era = if civil.year > 0 { civil.year } else { 1 - civil.year };
    let short = |name: &'static str| if count >= 4 { name } else { &name[..3] };
    let number = match letter {
        'G' => return out.push_str(if civil.year > 0 { "AD" } else { "BC" }),
        'M' | 'L' if count > 2 => return out.push_str(short(MONTHS[civil.month as usize - 1])),
        'E' => return out.push_str(short(DAYS[weekday(day) as usize - 1])),
        'a' => return out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'z' => return out.push_str(if count >= 4 { "Coordinated Universal Time" } else { "UTC" }),
        'Z' => return out.push_str("+0000"),
        'X' => return out.push('Z'),
        'y' if count == 2 => year_of_era % 100,
        'y' => year_of_era,
        'M' | 'L' => i64::from(civil.month),
        'D' => civil.day_of_year(),
        'd' => i64::from(civil.day),
        'F' => (i64::from(civil.day) - 1) / 7 + 1,
        'u' => weekday(day),
        'H' => hour,
        'k' => {
            if hour == 0 {
                24
            } else {
                hour
            }
        }
        'K' => hour % 12,
        'h' => {
            if hour % 12 == 0 {
                12
            } else {
                hour % 12
            }
        }
        'm' => of_day / 60_000 % 60,
        's' => of_day / 1000 % 60,
        'S' => of_day % 1000,
        other => unreachable!("{other} was refused when the pattern was read"),
    };
    write!(out, "{number:0count$}").expect("a string takes all text");
}

/// The parts of a date that a text gave, with Java's defaults for the others.
#[derive(Default)]
struct Found {
    is_bc: bool,
    year: Option<i64>,
    /// For a year of two digits, where its century begins.
    is_short_year: Option<i64>,
    month: i64,
    day: Option<i64>,
    /// Counts unless a month or day came after it.
    day_of_year: Option<i64>,
    hour: i64,
    is_pm: Option<bool>,
    /// Whether `hour` is one of twelve.
    is_half_hour: bool,
    minute: i64,
    second: i64,
    milli: i64,
    zone_min: i64,
}

impl Found {
    fn set_month(&mut self, month: i64) {
        self.month = month;
        self.day_of_year = None;
    }

    fn set_day(&mut self, day: i64) {
        self.day = Some(day);
        self.day_of_year = None;
    }

    fn set_hour(&mut self, hour: i64) {
        self.hour = hour;
        self.is_half_hour = false;
    }

    fn set_half_hour(&mut self, hour: i64) {
        self.hour = hour;
        self.is_half_hour = true;
    }

    fn millis(&self) -> i64 {
        match (self.year, self.is_short_year) {
            (Some(year), Some(start_ms)) => {
                let start = Civil::of_day(start_ms.div_euclid(DAY_MS)).year;
                let year = start - start.rem_euclid(100) + year + if year < start.rem_euclid(100) { 100 } else { 0 };
                let millis = self.millis_in(year);
                // The century's first year belongs to it only in part.
                if year == start && millis < start_ms { self.millis_in(year + 100) } else { millis }
            }
            (Some(year), None) => self.millis_in(if self.is_bc { 1 - year } else { year }),
            (None, _) => self.millis_in(if self.is_bc { 1 - 1970 } else { 1970 }),
        }
    }

    fn millis_in(&self, year: i64) -> i64 {
        let day = match self.day_of_year {
            Some(day) => day_of(year, 0, day),
            None => day_of(year, self.month, self.day.unwrap_or(1)),
        };
        let half = if self.is_half_hour && self.is_pm == Some(true) { 12 } else { 0 };
        let minutes = (self.hour + half) * 60 + self.minute - self.zone_min;
        day * DAY_MS + minutes * 60_000 + self.second * 1000 + self.milli
    }
}

/// An integer as `DecimalFormat` reads it; of `width` characters when given.
fn number(text: &str, width: Option<usize>) -> Option<(i64, &str)> {
    let window = match width {
        Some(width) => text.get(..width)?,
        None => text,
    };
    let digits_from = usize::from(window.starts_with('-'));
    let length = window[digits_from..].bytes().take_while(u8::is_ascii_digit).count();
    let end = digits_from + length;
    // A calendar's fields are 32 bits wide; nobody means more.
    let number: i32 = if length == 0 { return None } else { window[..end].parse().ok()? };
    Some((i64::from(number), &text[end..]))
}

/// The longest of the names that the text begins with, in any case.
fn name<'t>(text: &'t str, names: &[&str]) -> Option<(usize, &'t str)> {
    let starts = |name: &str| text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    let (at, found) = names.iter().enumerate().filter(|(_, name)| starts(name)).max_by_key(|(_, name)| name.len())?;
    Some((at, &text[found.len()..]))
}

fn long_or_short_name<'t>(text: &'t str, names: &[&str]) -> Option<(usize, &'t str)> {
    let short: Vec<&str> = names.iter().map(|name| &name[..3]).collect();
    name(text, names).or_else(|| name(text, &short))
}

/// `+0130`, `GMT+1:30`, `GMT`, `UTC`: minutes east of UTC.
fn zone(text: &str) -> Option<(i64, &str)> {
    if text.starts_with(['+', '-']) {
        return offset(text, true, false);
    }
    let (_, rest) = name(text, &["GMT", "UTC"])?;
    if text[..3].eq_ignore_ascii_case("GMT") && rest.starts_with(['+', '-']) {
        return offset(rest, true, true);
    }
    Some((0, rest))
}

/// `Z`, `+01`, `+0130`, `+01:30` by the count of `X`.
fn iso_zone(text: &str, count: usize) -> Option<(i64, &str)> {
    match text.strip_prefix('Z') {
        Some(rest) => Some((0, rest)),
        None => offset(text, count > 1, count == 3),
    }
}

fn offset(text: &str, has_minutes: bool, has_colon: bool) -> Option<(i64, &str)> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let rest = text.strip_prefix(['+', '-'])?;
    let two = |text: &str| text.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<i64>().ok());
    let (hours, rest) = (two(rest)?, &rest[2..]);
    if hours > 23 {
        return None;
    }
    if !has_minutes {
        return Some((sign * hours * 60, rest));
    }
    let rest = if has_colon { rest.strip_prefix(':')? } else { rest };
    let (minutes, rest) = (two(rest)?, &rest[2..]);
    (minutes < 60).then_some((sign * (hours * 60 + minutes), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, millis: i64, text: &str) {
        let format = DateFormat::new(pattern).unwrap();
        assert_eq!(format.format(millis), text);
        assert_eq!(format.parse(text), Some(millis), "{text}");
    }

    #[test]
    fn dates_are_written_and_read() {
        check("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", 1_732_300_000_123, "2024-11-22T18:26:40.123Z");
        check("yyyyMMddHHmmss", 1_732_300_000_000, "20241122182640");
        check("EEE, d MMM yyyy hh:mm:ss a Z", 1_732_300_000_000, "Fri, 22 Nov 2024 06:26:40 PM +0000");
        check("EEEE d. MMMM yy, k 'o''clock' X", 1_732_298_400_000, "Friday 22. November 24, 18 o'clock Z");
        check("yyyy-MM-dd G", -62_135_769_600_000, "0001-01-01 AD");
        check("yyyy DDD", 1_732_233_600_000, "2024 327");
    }

    #[test]
    fn reading_is_lenient() {
        let read = |pattern: &str, text: &str| DateFormat::new(pattern).unwrap().parse(text);
        assert_eq!(read("yyyy-MM-dd", "2024-13-32 and more"), read("yyyy-MM-dd", "2025-2-1"));
        assert_eq!(read("HH:mm", "25:61"), Some(26 * 3_600_000 + 60_000));
        assert_eq!(read("yyyy-MM-dd HH:mmX", "1970-01-01 01:00+01"), Some(0));
        assert_eq!(read("yyyy-MM-dd", "nonsense"), None);
        assert_eq!(read("yyyyMMdd", "2024112"), read("yyyy-M-d", "2024-11-2"));
        assert_eq!(read("yyyyMMdd", "202411"), None);
    }

    #[test]
    fn patterns_that_cannot_be_are_refused() {
        for pattern in ["b", "'open", "XXXX", "YYYY", "ww"] {
            assert!(DateFormat::new(pattern).is_err(), "{pattern}");
        }
    }
}
