//! Which client settings a connector may override: `connector.client.config.override.policy`.

use penstock_api::{Error, Result};

/// Connect's policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverridePolicy {
    All,
    None,
    /// Who the client is, and nothing else.
    Principal,
    /// The settings of `connector.client.config.override.allowlist`.
    Allowlist(Vec<String>),
}

/// What the policy `Principal` allows.
const PRINCIPAL: [&str; 3] = ["sasl.jaas.config", "sasl.mechanism", "security.protocol"];

const PACKAGE: &str = "org.apache.kafka.connect.connector.policy.";
const SUFFIX: &str = "ConnectorClientConfigOverridePolicy";

impl OverridePolicy {
    /// Reads the policy's name, short or as a Java class.
    ///
    /// # Errors
    /// `Config`, with the key.
    pub fn parse(name: &str, allowlist: Vec<String>) -> Result<Self> {
        let short = name.strip_prefix(PACKAGE).unwrap_or(name);
        match short.strip_suffix(SUFFIX).unwrap_or(short) {
            "All" => Ok(Self::All),
            "None" => Ok(Self::None),
            "Principal" => Ok(Self::Principal),
            "Allowlist" => Ok(Self::Allowlist(allowlist)),
            _ => Err(Error::config(format!(
                "Invalid value {name} for configuration connector.client.config.override.policy: choose All, None, Principal or Allowlist"
            ))),
        }
    }

    /// The name as messages say it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::All => "All",
            Self::None => "None",
            Self::Principal => "Principal",
            Self::Allowlist(_) => "Allowlist",
        }
    }

    /// Whether a connector may set this client setting.
    #[must_use]
    pub fn allows(&self, setting: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Principal => PRINCIPAL.contains(&setting),
            Self::Allowlist(allowed) => allowed.iter().any(|a| a == setting),
        }
    }

    /// Java's message if a connector may not set this client setting.
    #[must_use]
    pub fn violation(&self, setting: &str) -> Option<String> {
        let policy = self.name();
        let message =
            || format!("The '{policy}' policy does not allow '{setting}' to be overridden in the connector configuration.");
        (!self.allows(setting)).then(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let check = |name: &str, allowed: &[&str]| {
            let policy = OverridePolicy::parse(name, vec!["acks".into()]).expect(name);
            let settings = ["acks", "sasl.mechanism"];
            assert_eq!(settings.into_iter().filter(|s| policy.allows(s)).collect::<Vec<_>>(), allowed, "{name}");
        };
        check("All", &["acks", "sasl.mechanism"]);
        check("None", &[]);
        check("Principal", &["sasl.mechanism"]);
        check("Allowlist", &["acks"]);
        check("org.apache.kafka.connect.connector.policy.NoneConnectorClientConfigOverridePolicy", &[]);
        assert!(OverridePolicy::parse("none", Vec::new()).is_err());
    }
}
