//! `response.http.headers.config`: headers that every answer gets, in the syntax and with the messages of Connect (KIP-577).

/// `[action] [name]:[value]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Beside what is there already, not in its place.
    pub add: bool,
    pub name: String,
    pub value: HeaderRuleValue,
}

/// What a header is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRuleValue {
    Text(String),
    /// The time of the answer, so many milliseconds later.
    DateIn(i64),
}

/// Reads the rules, separated by commas; one that holds a comma stands in double quotes.
///
/// # Errors
/// What is wrong, in Java's words.
pub fn parse(text: &str) -> Result<Vec<HeaderRule>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    split_outside_quotes(text).iter().map(|rule| parse_rule(rule)).collect()
}

fn parse_rule(rule: &str) -> Result<HeaderRule, String> {
    let Some((action, header)) = rule.trim().split_once(char::is_whitespace) else {
        return Err(format!("Invalid format of header config '{rule}'. Expected: '[action] [header name]:[header value]'"));
    };
    let (add, is_date) = match action.to_ascii_lowercase().as_str() {
        "set" => (false, false),
        "add" => (true, false),
        "setdate" => (false, true),
        "adddate" => (true, true),
        _ => {
            return Err(format!("Invalid header config action: '{action}'. Expected one of [set, add, setDate, addDate]"));
        }
    };
    let header = header.trim_start();
    let (name, value) = match header.trim().trim_end_matches(':').split(':').collect::<Vec<_>>()[..] {
        [name, value] => (name.trim(), value.trim()),
        _ => {
            return Err(format!(
                "Invalid format of header name and header value pair '{header}'. Expected: '[header name]:[header value]'"
            ));
        }
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(format!("Invalid header name '{name}'. The '[header name]' cannot contain whitespace"));
    }
    let value = if is_date {
        let later_ms = value.parse().map_err(|_| {
            format!("Invalid header config '{rule}'. A date is given as the milliseconds from now, so '{value}' must be a number")
        })?;
        HeaderRuleValue::DateIn(later_ms)
    } else {
        HeaderRuleValue::Text(value.to_owned())
    };
    Ok(HeaderRule { add, name: name.to_owned(), value })
}

/// Parts between commas, without the quotes that keep commas together and without space around.
fn split_outside_quotes(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    for char in text.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => parts.push(std::mem::take(&mut part)),
            char => part.push(char),
        }
    }
    parts.push(part);
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let text =
            |add, name: &str, value: &str| HeaderRule { add, name: name.into(), value: HeaderRuleValue::Text(value.into()) };
        let rules =
            parse(r#"add X-XSS-Protection: 1; mode=block, "set Cache-Control:no-cache, no-store", setDate Expires: 3600000"#);
        let expected = [
            text(true, "X-XSS-Protection", "1; mode=block"),
            text(false, "Cache-Control", "no-cache, no-store"),
            HeaderRule { add: false, name: "Expires".into(), value: HeaderRuleValue::DateIn(3_600_000) },
        ];
        assert_eq!(rules, Ok(expected.into()));
        assert_eq!(parse("  "), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_said_in_javas_words() {
        let check = |text: &str, expected: &str| assert_eq!(parse(text), Err(expected.to_owned()));
        check("set", "Invalid format of header config 'set'. Expected: '[action] [header name]:[header value]'");
        check("put X:1", "Invalid header config action: 'put'. Expected one of [set, add, setDate, addDate]");
        let pair = |pair: &str| {
            format!("Invalid format of header name and header value pair '{pair}'. Expected: '[header name]:[header value]'")
        };
        check("set X", &pair("X"));
        check("set X:", &pair("X:"));
        check("set X:a:b", &pair("X:a:b"));
        check("set X Y:1", "Invalid header name 'X Y'. The '[header name]' cannot contain whitespace");
        check("set :1", "Invalid header name ''. The '[header name]' cannot contain whitespace");
    }
}
