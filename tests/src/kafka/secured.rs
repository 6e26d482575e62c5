//! A broker that lets in only whom it knows: by password (SASL) and by certificate (TLS).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Kafka;

/// It also listens on PLAINTEXT, so that a test can look at it without credentials.
pub struct Secured {
    pub kafka: Kafka,
    folder: tempfile::TempDir,
}

const SASL: &str = "SASL_PLAINTEXT";
const TLS: &str = "TLS";

impl Secured {
    pub const USER: &str = "alice";
    pub const PASSWORD: &str = "al!ce-s3cret";
    pub const KEY_PASSWORD: &str = "k3y-s3cret";

    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        make_certificates(folder.path()).await?;
        let file = |name: &str| folder.path().join(name).display().to_string();
        let modules = "org.apache.kafka.common.security";
        let plain = format!("{modules}.plain.PlainLoginModule required user_{}=\"{}\";", Self::USER, Self::PASSWORD);
        let scram = format!("{modules}.scram.ScramLoginModule required;");
        let mut builder = Kafka::builder()
            .listener(SASL, "SASL_PLAINTEXT")
            .property("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
            .property("listener.name.sasl_plaintext.plain.sasl.jaas.config", plain)
            .listener(TLS, "SSL")
            .property("listener.name.tls.ssl.client.auth", "required")
            .property("listener.name.tls.ssl.keystore.type", "PEM")
            .property("listener.name.tls.ssl.keystore.location", file("broker.pem"))
            .property("listener.name.tls.ssl.truststore.type", "PEM")
            .property("listener.name.tls.ssl.truststore.location", file("ca.pem"));
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let key = format!("listener.name.sasl_plaintext.{}.sasl.jaas.config", mechanism.to_lowercase());
            builder = builder.property(&key, &scram).scram_user(mechanism, Self::USER, Self::PASSWORD);
        }
        Ok(Self { kafka: builder.start().await?, folder })
    }

    /// `bootstrap.servers` for who has a password.
    pub fn sasl(&self) -> &str {
        self.kafka.address(SASL)
    }

    /// `bootstrap.servers` for who has a certificate.
    pub fn tls(&self) -> &str {
        self.kafka.address(TLS)
    }

    /// One of the files: `ca.pem` to trust; `client.pem`, a key with its chain; `client-encrypted.pem`, the same with a password;
    /// `client.p12`; `stranger.pem`, an authority that the broker's certificate is not of.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// An authority, keys for the broker and a client that it has signed, and another authority.
async fn make_certificates(folder: &Path) -> Result<()> {
    let key_password = Secured::KEY_PASSWORD;
    let script = format!(
        "set -e
         authority() {{ openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj \"/CN=$1\" -keyout $1.key -out $1.pem; }}
         signed() {{
           openssl req -newkey rsa:2048 -nodes -subj \"/CN=$1\" -keyout $1.key -out $1.csr
           printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > $1.ext
           openssl x509 -req -days 1 -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $1.ext -out $1.crt
           cat $1.key $1.crt ca.pem > $1.pem
         }}
         authority ca
         authority stranger
         signed broker
         signed client
         openssl pkcs8 -topk8 -v2 aes-256-cbc -in client.key -passout pass:{key_password} -out encrypted.key
         cat encrypted.key client.crt ca.pem > client-encrypted.pem
         openssl pkcs12 -export -inkey client.key -in client.crt -certfile ca.pem -passout pass:{key_password} -out client.p12"
    );
    let made = tokio::process::Command::new("bash").args(["-c", &script]).current_dir(folder).output().await;
    let made = made.context("run openssl to make certificates")?;
    if !made.status.success() {
        bail!("could not make certificates: {}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(())
}
