//! The upload behind PUT: where Snowflake says, in that cloud's way, encrypted when the stage asks for it.
//!
//! Files go up in one request; there is no multi-part upload, since files are bounded by the buffers they come from. The form
//! of the requests was checked against servers made for it; the clouds themselves were not at hand.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockEncrypt, BlockEncryptMut, KeyInit, KeyIvInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ClientOptions, ObjectStore, PutOptions, RetryConfig};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::sql::{Failure, chain};

/// What Snowflake answers to PUT.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutAnswer {
    stage_info: StageInfo,
    #[serde(default)]
    encryption_material: Option<Material>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StageInfo {
    location_type: String,
    location: String,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    end_point: Option<String>,
    #[serde(default)]
    storage_account: Option<String>,
    #[serde(default)]
    presigned_url: Option<String>,
    #[serde(default)]
    creds: Option<Credentials>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
struct Credentials {
    aws_key_id: Option<String>,
    aws_secret_key: Option<String>,
    aws_token: Option<String>,
    gcs_access_token: Option<String>,
    azure_sas_token: Option<String>,
}

/// One for each file, a bare one, or nothing where the stage encrypts by itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Material {
    One(Key),
    Many(Vec<Key>),
    None {},
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    query_stage_master_key: String,
    query_id: String,
    smk_id: i64,
}

impl PutAnswer {
    /// Reads the answer's body.
    ///
    /// # Errors
    /// `Protocol` when it is no answer to PUT.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            data: PutAnswer,
        }
        let answer: Answer = serde_json::from_slice(body).map_err(|e| Failure::Protocol(format!("answer to PUT: {e}")))?;
        Ok(answer.data)
    }

    fn key(&self) -> Option<&Key> {
        match self.encryption_material.as_ref()? {
            Material::One(key) => Some(key),
            Material::Many(keys) => keys.first(),
            Material::None {} => None,
        }
    }
}

/// Uploads the file.
///
/// # Errors
/// Any [`Failure`]; one whose remedy is to wait wants a fresh PUT, as credentials may have expired.
pub async fn upload(http: &reqwest::Client, answer: PutAnswer, name: &str, bytes: Bytes) -> Result<(), Failure> {
    let digest = BASE64.encode(Sha256::digest(&bytes));
    let sealed = answer.key().map(|key| seal(key, &bytes)).transpose()?;
    let body = sealed.as_ref().map_or(bytes, |sealed| sealed.bytes.clone());
    let upload = Upload { stage: &answer.stage_info, name, body, digest, sealed: sealed.as_ref() };
    match answer.stage_info.location_type.as_str() {
        "S3" => upload.to_s3().await,
        "GCS" => upload.to_gcs(http).await,
        "AZURE" => upload.to_azure(http).await,
        other => Err(Failure::Protocol(format!("a stage at {other}, which is not known here"))),
    }
}

struct Upload<'a> {
    stage: &'a StageInfo,
    name: &'a str,
    body: Bytes,
    digest: String,
    sealed: Option<&'a Sealed>,
}

impl Upload<'_> {
    async fn to_s3(self) -> Result<(), Failure> {
        let (bucket, prefix) = self.stage.location.split_once('/').unwrap_or((&self.stage.location, ""));
        let creds = self.stage.creds.as_ref();
        let credential = |get: fn(&Credentials) -> &Option<String>| creds.and_then(|c| get(c).clone()).unwrap_or_default();
        let mut store = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(self.stage.region.as_deref().unwrap_or("us-east-1"))
            .with_access_key_id(credential(|c| &c.aws_key_id))
            .with_secret_access_key(credential(|c| &c.aws_secret_key))
            .with_token(credential(|c| &c.aws_token))
            // Whoever retries runs PUT again first, for fresh credentials.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
        if let Some(end_point) = self.stage.end_point.as_deref().filter(|e| !e.is_empty()) {
            let url = if end_point.contains("://") { end_point.to_owned() } else { format!("https://{end_point}") };
            let options = ClientOptions::new().with_allow_http(url.starts_with("http://"));
            store = store.with_client_options(options).with_endpoint(url);
        }
        let store = store.build().map_err(|e| Failure::Protocol(format!("S3 stage: {}", chain(&e))))?;
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, "application/octet-stream".into());
        attributes.insert(metadata("sfc-digest"), self.digest.clone().into());
        if let Some(sealed) = self.sealed {
            attributes.insert(metadata("x-amz-key"), sealed.wrapped_key.clone().into());
            attributes.insert(metadata("x-amz-iv"), sealed.iv.clone().into());
            attributes.insert(metadata("x-amz-matdesc"), sealed.description.clone().into());
        }
        let path = Path::from(format!("{}/{}", prefix.trim_end_matches('/'), self.name));
        let options = PutOptions { attributes, ..PutOptions::default() };
        // Also an expired token is worth another PUT, which brings a fresh one.
        store
            .put_opts(&path, self.body.into(), options)
            .await
            .map_err(|e| Failure::Unreachable(format!("S3 stage: {}", chain(&e))))?;
        Ok(())
    }

    async fn to_gcs(self, http: &reqwest::Client) -> Result<(), Failure> {
        let token = self.stage.creds.as_ref().and_then(|c| c.gcs_access_token.as_deref()).filter(|t| !t.is_empty());
        let presigned = self.stage.presigned_url.as_deref().filter(|u| !u.is_empty());
        let mut request = match (token, presigned) {
            (Some(token), _) => {
                let url = format!("https://storage.googleapis.com/{}/{}", self.stage.location.trim_end_matches('/'), self.name);
                http.put(url).bearer_auth(token)
            }
            (None, Some(url)) => http.put(url),
            (None, None) => return Err(Failure::protocol("a GCS stage with neither token nor URL")),
        };
        request = request.header("x-goog-meta-sfc-digest", &self.digest);
        if let Some(sealed) = self.sealed {
            request = request
                .header("x-goog-meta-encryptiondata", sealed.encryption_data())
                .header("x-goog-meta-matdesc", &sealed.description);
        }
        send(request.body(self.body), "GCS").await
    }

    async fn to_azure(self, http: &reqwest::Client) -> Result<(), Failure> {
        let sas = self.stage.creds.as_ref().and_then(|c| c.azure_sas_token.as_deref()).unwrap_or_default();
        let account = self.stage.storage_account.as_deref().unwrap_or_default();
        let end_point = self.stage.end_point.as_deref().filter(|e| !e.is_empty()).unwrap_or("blob.core.windows.net");
        let base = if end_point.contains("://") { end_point.to_owned() } else { format!("https://{account}.{end_point}") };
        let url = format!("{base}/{}/{}?{}", self.stage.location.trim_end_matches('/'), self.name, sas.trim_start_matches('?'));
        let mut request = http.put(url).header("x-ms-blob-type", "BlockBlob").header("x-ms-meta-sfcdigest", &self.digest);
        if let Some(sealed) = self.sealed {
            request = request
                .header("x-ms-meta-encryptiondata", sealed.encryption_data())
                .header("x-ms-meta-matdesc", &sealed.description);
        }
        send(request.body(self.body), "Azure").await
    }
}

fn metadata(name: &'static str) -> Attribute {
    Attribute::Metadata(name.into())
}

/// The storage's refusals are all worth another PUT: it brings fresh credentials.
async fn send(request: reqwest::RequestBuilder, cloud: &str) -> Result<(), Failure> {
    // The URL is left out of messages: it carries credentials.
    let response = request.send().await.map_err(|e| Failure::of_http(&e.without_url()))?;
    let status = response.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(Failure::Unreachable(format!("the {cloud} stage answers with HTTP status {status}")))
    }
}

/// A file encrypted for a `SNOWFLAKE_FULL` stage.
struct Sealed {
    bytes: Bytes,
    wrapped_key: String,
    iv: String,
    description: String,
    key_bits: usize,
}

impl Sealed {
    /// As GCS and Azure carry it.
    fn encryption_data(&self) -> String {
        let algorithm = format!("AES_CBC_{}", self.key_bits);
        json!({
            "EncryptionMode": "FullBlob",
            "WrappedContentKey": { "KeyId": "symmKey1", "EncryptedKey": self.wrapped_key, "Algorithm": algorithm },
            "EncryptionAgent": { "Protocol": "1.0", "EncryptionAlgorithm": algorithm },
            "ContentEncryptionIV": self.iv,
            "KeyWrappingMetadata": { "EncryptionLibrary": "Java 5.3.0" },
        })
        .to_string()
    }
}

/// A fresh key for the file, wrapped by the stage's master key: AES-CBC for the bytes, AES-ECB for the key, both padded.
fn seal(key: &Key, bytes: &[u8]) -> Result<Sealed, Failure> {
    let master = BASE64.decode(&key.query_stage_master_key).map_err(|_| Failure::protocol("a master key that is not base64"))?;
    let mut file_key = vec![0u8; master.len()];
    let mut iv = [0u8; 16];
    rand::fill(&mut file_key[..]);
    rand::fill(&mut iv[..]);
    let wrong_key = || Failure::protocol("a master key that has neither 128 nor 256 bits");
    let (encrypted, wrapped) = match master.len() {
        16 => (
            cbc::Encryptor::<aes::Aes128>::new_from_slices(&file_key, &iv)
                .map_err(|_| wrong_key())?
                .encrypt_padded_vec_mut::<Pkcs7>(bytes),
            wrap(&aes::Aes128::new_from_slice(&master).map_err(|_| wrong_key())?, &file_key),
        ),
        32 => (
            cbc::Encryptor::<aes::Aes256>::new_from_slices(&file_key, &iv)
                .map_err(|_| wrong_key())?
                .encrypt_padded_vec_mut::<Pkcs7>(bytes),
            wrap(&aes::Aes256::new_from_slice(&master).map_err(|_| wrong_key())?, &file_key),
        ),
        _ => return Err(wrong_key()),
    };
    let key_bits = master.len() * 8;
    let description =
        json!({ "queryId": key.query_id, "smkId": key.smk_id.to_string(), "keySize": key_bits.to_string() }).to_string();
    Ok(Sealed { bytes: encrypted.into(), wrapped_key: BASE64.encode(wrapped), iv: BASE64.encode(iv), description, key_bits })
}

fn wrap<C: BlockEncrypt>(master: &C, file_key: &[u8]) -> Vec<u8> {
    let block = C::block_size();
    let padding = block - file_key.len() % block;
    let mut padded = file_key.to_vec();
    padded.extend(std::iter::repeat_n(padding as u8, padding));
    for chunk in padded.chunks_mut(block) {
        master.encrypt_block(chunk.into());
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes::cipher::{BlockDecrypt, BlockDecryptMut};
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn key(bytes: usize) -> Key {
        Key { query_stage_master_key: BASE64.encode(vec![7u8; bytes]), query_id: "q".into(), smk_id: 12 }
    }

    #[test]
    fn what_is_sealed_can_be_opened_with_the_master_key() {
        let sealed = seal(&key(32), b"some rows").unwrap();
        let mut wrapped = BASE64.decode(&sealed.wrapped_key).unwrap();
        let master = aes::Aes256::new_from_slice(&[7u8; 32]).unwrap();
        for block in wrapped.chunks_mut(16) {
            master.decrypt_block(block.into());
        }
        assert_eq!(&wrapped[32..], [16u8; 16]);
        let iv = BASE64.decode(&sealed.iv).unwrap();
        let opened = cbc::Decryptor::<aes::Aes256>::new_from_slices(&wrapped[..32], &iv)
            .unwrap()
            .decrypt_padded_vec_mut::<Pkcs7>(&sealed.bytes)
            .unwrap();
        assert_eq!(opened, b"some rows");
        assert_eq!(sealed.description, r#"{"queryId":"q","smkId":"12","keySize":"256"}"#);
        assert!(seal(&key(16), b"x").is_ok() && seal(&key(5), b"x").is_err());
    }

    /// Takes one request, answers 200, and gives it back as text.
    fn one_request() -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut chunk) = (Vec::new(), [0u8; 4096]);
            loop {
                let n = stream.read(&mut chunk).unwrap();
                request.extend_from_slice(&chunk[..n]);
                let text = String::from_utf8_lossy(&request).to_lowercase();
                let length = text.split("content-length: ").nth(1).and_then(|t| t.split("\r\n").next()?.parse::<usize>().ok());
                let head = text.find("\r\n\r\n");
                if let (Some(length), Some(head)) = (length, head)
                    && request.len() >= head + 4 + length
                {
                    break;
                }
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\netag: \"x\"\r\n\r\n").unwrap();
            String::from_utf8_lossy(&request).into_owned()
        });
        (url, thread)
    }

    fn answer(stage: serde_json::Value, encrypted: bool) -> PutAnswer {
        let material = if encrypted {
            json!([{ "queryStageMasterKey": BASE64.encode([7u8; 16]), "queryId": "q", "smkId": 1 }])
        } else {
            json!([])
        };
        let body = json!({ "data": { "stageInfo": stage, "encryptionMaterial": material } });
        PutAnswer::parse(body.to_string().as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn s3_gets_a_signed_request_with_the_keys_of_the_file() {
        let (url, request) = one_request();
        let creds = json!({ "AWS_KEY_ID": "AK", "AWS_SECRET_KEY": "SK", "AWS_TOKEN": "TOKEN" });
        let stage = json!({ "locationType": "S3", "location": "bucket/stages/x/", "region": "eu-central-1", "endPoint": url, "creds": creds });
        upload(&reqwest::Client::new(), answer(stage, true), "f.parquet", Bytes::from_static(b"rows")).await.unwrap();
        let request = request.join().unwrap();
        assert!(request.starts_with("PUT /bucket/stages/x/f.parquet "), "{request}");
        for header in [
            "x-amz-security-token: TOKEN",
            "AWS4-HMAC-SHA256 Credential=AK/",
            "x-amz-meta-x-amz-key: ",
            "x-amz-meta-x-amz-iv: ",
            "x-amz-meta-x-amz-matdesc: {",
            "x-amz-meta-sfc-digest: ",
        ] {
            assert!(request.contains(header), "{header} in {request}");
        }
    }

    #[tokio::test]
    async fn gcs_and_azure_get_the_file_plain_or_sealed() {
        let (url, request) = one_request();
        let stage = json!({ "locationType": "GCS", "location": "s/", "creds": {}, "presignedUrl": format!("{url}/p?sig=1") });
        upload(&reqwest::Client::new(), answer(stage, false), "f.parquet", Bytes::from_static(b"rows")).await.unwrap();
        let request = request.join().unwrap();
        assert!(request.starts_with("PUT /p?sig=1 ") && request.ends_with("rows"), "{request}");

        let (url, request) = one_request();
        let stage = json!({ "locationType": "AZURE", "location": "c/p/", "storageAccount": "a", "endPoint": url, "creds": { "AZURE_SAS_TOKEN": "?sv=1" } });
        upload(&reqwest::Client::new(), answer(stage, true), "f.parquet", Bytes::from_static(b"rows")).await.unwrap();
        let request = request.join().unwrap();
        assert!(request.starts_with("PUT /c/p/f.parquet?sv=1 ") && !request.ends_with("rows"), "{request}");
        assert!(request.contains("x-ms-blob-type: BlockBlob") && request.contains("x-ms-meta-encryptiondata: {"), "{request}");
    }
}
