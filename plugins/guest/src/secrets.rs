//! Secrets that the connector granted by name (`plugin.grants.secrets`): a plugin sends them and cannot read them.
//!
//! ```no_run
//! # fn main() -> penstock_plugin::Result<()> {
//! use penstock_plugin::{http::Request, secrets};
//!
//! let bearer = format!("Bearer {}", secrets::placeholder("token"));
//! let response = Request::get("https://api.example.com/tickets").header("authorization", bearer).send()?;
//! # Ok(())
//! # }
//! ```

/// What stands for a secret in the value of a header, alone or among other text; the worker puts the secret in its place. In a URL or a body it
/// stays as it is. A name that was not granted, or a host that the secret is not granted for, fails the task.
#[must_use]
pub fn placeholder(name: &str) -> String {
    if cfg!(not(target_family = "wasm")) {
        // Without a worker, as in `cargo test`.
        return format!("{{{{secret:{name}}}}}");
    }
    crate::wit::secrets::placeholder(name)
}

/// The text with the placeholder of each secret that it names as `{secret:NAME}`: for keys in which users write headers, such as
/// `Authorization: Bearer {secret:token}`. What is no such name stays as it is.
///
/// Call it when the task starts, not when a configuration is checked: a name that was not granted fails the task.
#[must_use]
pub fn placeholders_in(text: &str) -> String {
    fill(text, placeholder)
}

fn fill(text: &str, placeholder: impl Fn(&str) -> String) -> String {
    const BEGIN: &str = "{secret:";
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once(BEGIN) {
        let Some((name, after)) = behind.split_once('}') else { break };
        filled.push_str(before);
        filled.push_str(&placeholder(name));
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_becomes_its_placeholder() {
        for (given, expected) in [
            ("Bearer {secret:token}", "Bearer <token>"),
            ("{secret:user}:{secret:password}", "<user>:<password>"),
            ("no {name} {secret", "no {name} {secret"),
            ("{secret:open", "{secret:open"),
            ("", ""),
        ] {
            assert_eq!(fill(given, |name| format!("<{name}>")), expected);
        }
    }
}
