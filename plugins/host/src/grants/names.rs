//! Names that may be asked for: of environment variables and of secrets.

use std::fmt;

use penstock_api::config::split_list;

const NAMES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 128;

/// Names, and in a ceiling also what names begin with (`APP_*`, `*`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(Vec<String>);

impl Names {
    /// Reads a list.
    ///
    /// # Errors
    /// Which name is wrong.
    pub(crate) fn parse(list: &str, may_be_patterns: bool) -> Result<Self, String> {
        let names = split_list(list);
        if names.len() > NAMES_MAX {
            return Err(format!("{} names: at most {NAMES_MAX} are allowed", names.len()));
        }
        for name in &names {
            let bare = if may_be_patterns { name.strip_suffix('*') } else { None };
            let is_name =
                |name: &str| name.len() <= NAME_BYTES_MAX && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
            if !is_name(bare.unwrap_or(name)) || name.is_empty() {
                return Err(format!("{name:?} is no name: names hold letters, digits, - and _, at most {NAME_BYTES_MAX}"));
            }
        }
        Ok(Self(names))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first name that the ceiling does not hold.
    pub(crate) fn beyond(&self, ceiling: &Names) -> Option<String> {
        self.iter().find(|name| !ceiling.holds(name)).map(str::to_owned)
    }

    fn holds(&self, name: &str) -> bool {
        self.iter().any(|own| own.strip_suffix('*').map_or(own == name, |begin| name.starts_with(begin)))
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_holds_names_and_what_they_begin_with() {
        for (ceiling, wanted, beyond) in
            [("TZ, APP_*", "TZ, APP_MODE", None), ("TZ", "TZ, HOME", Some("HOME")), ("*", "ANY", None), ("", "TZ", Some("TZ"))]
        {
            let (ceiling, wanted) = (Names::parse(ceiling, true).expect("good"), Names::parse(wanted, false).expect("good"));
            assert_eq!(wanted.beyond(&ceiling).as_deref(), beyond);
        }
        for wrong in ["A=B", "A*", "a,,b", "ü"] {
            assert!(Names::parse(wrong, false).is_err(), "{wrong}");
        }
        assert!(Names::parse("A*B", true).is_err());
    }
}
