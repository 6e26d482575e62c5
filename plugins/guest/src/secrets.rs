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
