//! What components reach over the network, and what not, in the host alone: with real servers, and a resolver that says what a test wants.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use penstock_api::async_trait;
use penstock_host::{Ceiling, Resolve};
use penstock_tests::certificates::Authority;
use penstock_tests::web::WebServer;

use super::*;

/// Addresses by name; of several the next one each time it is asked, as somebody does who rebinds a name.
#[derive(Debug, Default)]
struct Names(Mutex<HashMap<String, Vec<IpAddr>>>);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut names = self.0.lock().unwrap();
        let addresses = names.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let address = if addresses.len() > 1 { addresses.remove(0) } else { addresses[0] };
        Ok(vec![SocketAddr::new(address, port)])
    }
}

fn names(known: &[(&str, &[&str])]) -> Arc<Names> {
    let addresses = |all: &[&str]| all.iter().map(|address| address.parse().unwrap()).collect();
    Arc::new(Names(Mutex::new(known.iter().map(|(name, all)| ((*name).to_owned(), addresses(all))).collect())))
}

/// A host that grants whatever is asked for.
fn open_host(change: impl FnOnce(&mut HostConfig)) -> Host {
    host_with(&["network"], |config| {
        let all = "*, localhost, 0.0.0.0/0, 127.0.0.0/8, 169.254.0.0/16, [::/0], [::1]";
        let ceiling = [("hosts", all), ("secrets", "*"), ("folders", "/:rw"), ("env", "*")];
        let keys = ceiling.map(|(key, list)| (format!("plugin.grants.{key}"), list.to_owned()));
        config.grants = Ceiling::new(&keys.into_iter().collect()).unwrap();
        config.call_deadline = Duration::from_secs(2);
        change(config);
    })
}

/// What the transform got for a batch of one record.
async fn fetch(host: &Host, props: &[(&str, &str)]) -> Result<String> {
    let class = "penstock.tests.Fetch";
    let mut transform = host.transform(class, props).await?;
    let mut batch = json_batch(&[r#"{"a":1}"#]);
    let applied = transform.apply_batch(&mut batch, &context(class)).await;
    transform.stop().await;
    applied?;
    Ok(shown(&batch).remove(0))
}

async fn refused(host: &Host, props: &[(&str, &str)], says: &[&str]) {
    let started = Instant::now();
    let error = fetch(host, props).await.expect_err("it is refused");
    let text = format!("{error:#}");
    for part in says {
        assert!(text.contains(part), "{props:?}: {text} does not say {part}");
    }
    assert_eq!(error.kind(), ErrorKind::Fatal, "{props:?}: {text}");
    assert!(started.elapsed() < Duration::from_secs(1), "{props:?} took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_granted_host_is_reached_with_headers_and_body() {
    let server = WebServer::start().await.unwrap();
    let host = open_host(|_| {});
    let (url, hosts) = (format!("http://127.0.0.1:{}/echo?a=b", server.port()), format!("127.0.0.1:{}", server.port()));
    let got = fetch(&host, &[("url", &url), ("plugin.grants.hosts", &hosts), ("body", "three words here")]).await.unwrap();
    for part in ["200", r#"\"method\":\"POST\""#, r#"\"x-from\":\"a component\""#, "three words here", "/echo?a=b", &hosts] {
        assert!(got.contains(part), "{got} does not say {part}");
    }
    // As large as it gets through the pieces in which it is sent.
    let large = "x".repeat(1_500_000);
    let got = fetch(&host, &[("url", &url), ("plugin.grants.hosts", &hosts), ("body", &large)]).await.unwrap();
    assert!(got.len() > 1_500_000);
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = WebServer::start().await.unwrap();
    let host = open_host(|_| {});
    let url = format!("http://localhost:{}/hello", server.port());
    let class = "penstock.tests.Fetch";
    let mut transform = host.transform(class, &[("url", &url), ("plugin.grants.hosts", "localhost")]).await.unwrap();
    for _ in 0..5 {
        let mut batch = json_batch(&["{}"]);
        transform.apply_batch(&mut batch, &context(class)).await.unwrap();
        assert_eq!(shown(&batch), [r#"{"got":"200 hello"}"#]);
    }
    let ends: std::collections::BTreeSet<_> = server.seen().iter().map(|asked| asked.from).collect();
    assert_eq!((server.seen().len(), ends.len()), (5, 1));
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_worker_trusts() {
    let authority = Authority::new("Penstock tests").unwrap();
    let server = WebServer::start_tls(&authority.sign("server").unwrap()).await.unwrap();
    let url = format!("https://localhost:{}/hello", server.port());
    let props = [("url", url.as_str()), ("plugin.grants.hosts", "localhost, 127.0.0.1")];
    let trusting = open_host(|config| config.network.trusted = vec![authority.der().unwrap()]);
    assert_eq!(fetch(&trusting, &props).await.unwrap(), r#"{"a":1,"got":"200 hello"}"#);
    let by_address = url.replace("localhost", "127.0.0.1");
    let got = fetch(&trusting, &[("url", &by_address), props[1]]).await.unwrap();
    assert_eq!(got, r#"{"a":1,"got":"200 hello"}"#);

    let strange = open_host(|_| {});
    let got = fetch(&strange, &[props[0], props[1], ("mode", "swallow")]).await.unwrap();
    assert!(got.contains("UnknownIssuer"), "{got}");
    // The right server under a name that its certificate does not have.
    let elsewhere = open_host(|config| {
        config.network.trusted = vec![authority.der().unwrap()];
        config.network.resolver = names(&[("other.example.com", &["127.0.0.1"])]);
    });
    let url = url.replace("localhost", "other.example.com");
    let hosts = ("plugin.grants.hosts", "other.example.com, 127.0.0.1");
    let got = fetch(&elsewhere, &[("url", &url), hosts, ("mode", "swallow")]).await.unwrap();
    assert!(got.contains("not valid for name"), "{got}");
}

#[tokio::test]
async fn what_was_not_granted_ends_the_task_at_once() {
    let server = WebServer::start().await.unwrap();
    let port = server.port();
    let host = open_host(|config| {
        config.network.resolver = names(&[
            ("api.example.com", &["127.0.0.1"]),
            ("cloud.example.com", &["169.254.169.254"]),
            ("mapped.example.com", &["::ffff:127.0.0.1"]),
            ("private.example.org", &["10.1.2.3"]),
        ]);
    });
    let url = |host: &str| format!("http://{host}:{port}/hello");
    for (asked, granted, says) in [
        ("127.0.0.1", "", "it was granted no host: its configuration has no plugin.grants.hosts"),
        ("evil.example.net", "api.example.com", "asked for evil.example.net:"),
        ("127.0.0.1", "*", "which it was not granted (plugin.grants.hosts is *)"),
        ("localhost", "*", "which it was not granted"),
        ("127.0.0.1", "127.0.0.1:1", "which it was not granted"),
        ("[::1]", "127.0.0.1", "asked for [::1]:"),
        ("api.example.com", "api.example.com", "which is at 127.0.0.1: such an address (loopback) must itself be granted"),
        ("mapped.example.com", "*", "which is at ::ffff:127.0.0.1: such an address (loopback)"),
        ("cloud.example.com", "*", "which is at 169.254.169.254: such an address (metadata)"),
        ("private.example.org", "*.example.org", "(private) must itself be granted"),
    ] {
        for mode in ["fetch", "swallow"] {
            let props = [("url", url(asked)), ("plugin.grants.hosts", granted.to_owned()), ("mode", mode.to_owned())];
            let props: Vec<(&str, &str)> = props.iter().map(|(key, value)| (*key, value.as_str())).collect();
            refused(&host, &props, &["the plugin ", says, "network.wasm"]).await;
        }
    }
    assert_eq!(server.seen().len(), 0, "nothing arrived");
}

#[tokio::test]
async fn a_name_as_the_system_resolves_it_opens_no_loopback() {
    let server = WebServer::start().await.unwrap();
    let host = open_host(|_| {});
    // What `getaddrinfo` takes for 127.0.0.1, though it is no address as they are granted.
    for name in ["127.1", "2130706433", "0x7f.1"] {
        let url = format!("http://{name}:{}/hello", server.port());
        refused(&host, &[("url", &url), ("plugin.grants.hosts", "*")], &["such an address (loopback)"]).await;
    }
    assert_eq!(server.seen().len(), 0, "nothing arrived");
}

#[tokio::test]
async fn a_redirect_is_asked_for_again() {
    let (first, second) = (WebServer::start().await.unwrap(), WebServer::start().await.unwrap());
    let host = open_host(|_| {});
    let url = format!("http://127.0.0.1:{}/redirect?to=http://127.0.0.1:{}/hello", first.port(), second.port());
    let hosts = format!("127.0.0.1:{}", first.port());
    let props = [("url", url.as_str()), ("plugin.grants.hosts", hosts.as_str()), ("mode", "follow")];
    refused(&host, &props, &[&format!("asked for 127.0.0.1:{}, which it was not granted", second.port())]).await;
    assert_eq!((first.seen().len(), second.seen().len()), (1, 0));
    let both = format!("{hosts}, 127.0.0.1:{}", second.port());
    let got = fetch(&host, &[props[0], ("plugin.grants.hosts", &both), props[2]]).await.unwrap();
    assert_eq!(got, r#"{"a":1,"got":"200 hello"}"#);
}

/// The name is asked for once for each connection, and what was answered is what is connected to: it may turn into something else right
/// behind the check.
#[tokio::test]
async fn a_name_that_is_rebound_wins_nothing() {
    let server = WebServer::start().await.unwrap();
    let url = format!("http://rebound.example.com:{}/hello", server.port());
    let props =
        [("url", url.as_str()), ("plugin.grants.hosts", "rebound.example.com"), ("timeout.ms", "300"), ("mode", "swallow")];
    // First an address that nobody answers at, of a network for documentation, then this machine.
    let rebound = names(&[("rebound.example.com", &["203.0.113.7", "127.0.0.1"])]);
    let host = open_host(|config| config.network.resolver = rebound.clone());
    let got = fetch(&host, &props).await.unwrap();
    assert!(!got.contains("200"), "{got}");
    // The next connection finds the other address, and is refused.
    refused(&host, &props, &["which is at 127.0.0.1: such an address (loopback)"]).await;
    assert_eq!(server.seen().len(), 0, "nothing arrived");
}

#[tokio::test]
async fn limits_of_the_network_end_the_task() {
    let server = WebServer::start().await.unwrap();
    let host = open_host(|config| {
        config.network.response_bytes_max = 1 << 20;
        config.network.connections_max = 4;
        config.network.wait_max = Duration::from_millis(600);
    });
    let hosts = ("plugin.grants.hosts", "127.0.0.1");
    let url = |path: &str| format!("http://127.0.0.1:{}/{path}", server.port());
    for mode in ["fetch", "swallow"] {
        let says = "reads a response of more than the 1048576 bytes that one may have (penstock.plugin.http.response.max.bytes)";
        refused(&host, &[("url", &url("endless")), hosts, ("mode", mode)], &[says]).await;
    }
    let says = "has more than the 4 requests open that it may have at once (penstock.plugin.network.connections.max)";
    refused(&host, &[("url", &url("silent")), hosts, ("mode", "many")], &[says]).await;
    // A server that does not answer is not the plugin's fault: it is told in time.
    let got = fetch(&host, &[("url", &url("silent")), hosts, ("mode", "swallow")]).await.unwrap();
    assert!(got.contains("no answer in time"), "{got}");
    let started = Instant::now();
    let got = fetch(&host, &[("url", &url("silent")), hosts, ("mode", "swallow"), ("timeout.ms", "100")]).await.unwrap();
    assert!(
        got.contains("no answer in time") && started.elapsed() < Duration::from_millis(500),
        "{got}: {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn waiting_for_the_network_is_not_the_plugins_time_but_working_is() {
    let server = WebServer::start().await.unwrap();
    let host = open_host(|config| config.call_deadline = Duration::from_millis(300));
    let hosts = ("plugin.grants.hosts", "127.0.0.1");
    let url = format!("http://127.0.0.1:{}/slow?ms=1000", server.port());
    assert_eq!(fetch(&host, &[("url", &url), hosts]).await.unwrap(), r#"{"a":1,"got":"200 at last"}"#);
    let started = Instant::now();
    let got = fetch(&host, &[("url", &url), hosts, ("mode", "work-and-wait")]).await.unwrap();
    assert!(got.contains("did not return within 300 ms"), "{got}");
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn more_than_the_worker_grants_is_refused_before_anything_runs() {
    let host = host_with(&["network"], |config| {
        config.grants = Ceiling::new(&props_of(&[("plugin.grants.hosts", "*.example.org:443")])).unwrap();
    });
    let key = host.plugin("penstock.tests.Fetch").config.get("plugin.grants.hosts").unwrap().clone();
    assert_eq!(key.recommended, ["api.example.com:443"]);
    assert!(key.doc.ends_with("This plugin asks for: the host of url; api.example.com:443 (nothing in fact)"), "{}", key.doc);
    assert!(key.validate(Some("api.example.org:443")).errors.is_empty());
    let says =
        "api.example.com:443 is beyond what this worker grants: plugin.grants.hosts in its worker file is *.example.org:443";
    let errors = key.validate(Some("a.example.org:443, api.example.com:443")).errors;
    assert!(errors[0].contains("for configuration plugin.grants.hosts: ") && errors[0].contains(says), "{errors:?}");
    let props = [("url", "http://api.example.com/"), ("plugin.grants.hosts", "api.example.com:443")];
    let error = fetch(&host, &props).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && format!("{error:#}").contains(says), "{error:#}");
}

const SECRET: &str = "s3cret-of-the-tests";

#[tokio::test]
async fn a_secret_is_sent_to_its_hosts_and_seen_by_nobody_else() {
    let (server, other) = (WebServer::start().await.unwrap(), WebServer::start().await.unwrap());
    let host = open_host(|_| {});
    let url = |server: &WebServer| format!("http://127.0.0.1:{}/hello", server.port());
    let its_hosts = format!("127.0.0.1:{}", server.port());
    let to = |url: &str, name: &str, mode: &str| {
        let pairs = [
            ("url", url),
            ("body", name),
            ("mode", mode),
            ("plugin.grants.hosts", "127.0.0.1"),
            ("plugin.grants.secrets", "token"),
            ("plugin.grants.secrets.token.value", SECRET),
            ("plugin.grants.secrets.token.hosts", &its_hosts),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    let borrowed = |pairs: &[(String, String); 7]| -> Vec<(String, String)> { pairs.to_vec() };
    let fetch_with = async |pairs: [(String, String); 7]| {
        let pairs = borrowed(&pairs);
        let props: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        fetch(&host, &props).await
    };
    let got = fetch_with(to(&url(&server), "token", "secret")).await.unwrap();
    assert!(got.contains("200 hello Bearer {{secret:token:") && !got.contains(SECRET), "{got}");
    assert_eq!(server.seen()[0].headers["authorization"], format!("Bearer {SECRET}"));

    for mode in ["secret", "swallow-secret"] {
        let error = format!("{:#}", fetch_with(to(&url(&other), "token", mode)).await.unwrap_err());
        let says = "would send the secret token to 127.0.0.1:";
        assert!(error.contains(says) && error.contains("plugin.grants.secrets.token.hosts"), "{error}");
        let error = format!("{:#}", fetch_with(to(&url(&server), "password", mode)).await.unwrap_err());
        let says = r#"asked for the secret "password", which plugin.grants.secrets does not name (it has token)"#;
        assert!(error.contains(says), "{error}");
    }
    assert_eq!((server.seen().len(), other.seen().len()), (1, 0));
}

#[tokio::test]
async fn granted_folders_are_read_or_written_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let (readable, writable) = (path.join("in"), path.join("out"));
    std::fs::create_dir(&readable).unwrap();
    std::fs::create_dir(&writable).unwrap();
    std::fs::write(readable.join("a"), "text").unwrap();
    std::fs::write(path.join("beside"), "text").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", readable.join("link")).unwrap();
    let folders = format!("{}, {}:rw", readable.display(), writable.display());
    let host = open_host(|_| {});
    let try_to = async |mode: &str, file: &Path| {
        let file = file.display().to_string();
        let props = [("mode", mode), ("url", file.as_str()), ("body", "written"), ("plugin.grants.folders", folders.as_str())];
        fetch(&host, &props).await.unwrap()
    };
    assert_eq!(try_to("read", &readable.join("a")).await, r#"{"a":1,"got":"text"}"#);
    assert_eq!(try_to("write", &writable.join("b")).await, r#"{"a":1,"got":"written"}"#);
    assert_eq!(std::fs::read_to_string(writable.join("b")).unwrap(), "written");
    for (mode, file) in [
        ("write", readable.join("a")),
        ("read", readable.join("../beside")),
        ("read", path.join("beside")),
        ("read", readable.join("link")),
        ("read", PathBuf::from("/etc/passwd")),
        ("write", PathBuf::from("/tmp/penstock-was-here")),
    ] {
        let got = try_to(mode, &file).await;
        assert!(got.contains(&format!("cannot {mode}: ")), "{mode} {}: {got}", file.display());
    }
    assert_eq!(std::fs::read_to_string(readable.join("a")).unwrap(), "text");
}

#[tokio::test]
async fn granted_variables_are_seen_and_no_others() {
    let host = open_host(|_| {});
    let path = std::env::var("PATH").unwrap();
    let got = fetch(&host, &[("mode", "env"), ("url", "-"), ("plugin.grants.env", "PATH, NOT_THERE_AT_ALL")]).await.unwrap();
    assert_eq!(got, format!(r#"{{"a":1,"got":"PATH={path}"}}"#));
    assert_eq!(fetch(&host, &[("mode", "env"), ("url", "-")]).await.unwrap(), r#"{"a":1,"got":""}"#);
}

#[tokio::test]
async fn sockets_connect_to_granted_addresses_only() {
    let server = WebServer::start().await.unwrap();
    let host = open_host(|_| {});
    let address = format!("127.0.0.1:{}", server.port());
    let mode = ("mode", "socket");
    let got = fetch(&host, &[mode, ("url", &address), ("plugin.grants.hosts", &address)]).await.unwrap();
    assert_eq!(got, r#"{"a":1,"got":"hello"}"#);
    let says = "which it was not granted (plugin.grants.hosts is *)";
    refused(&host, &[mode, ("url", &address), ("plugin.grants.hosts", "*")], &["asked for 127.0.0.1:", says]).await;
    // Names as they are looked up; one that leads to this machine needs its address, too.
    let by_name = format!("db.example.com:{}", server.port());
    let host = open_host(|config| {
        config.network.resolver = names(&[("db.example.com", &["127.0.0.1"]), ("evil.example.net", &["127.0.0.1"])]);
    });
    let both = format!("db.example.com, {address}");
    let got = fetch(&host, &[mode, ("url", &by_name), ("plugin.grants.hosts", &both)]).await.unwrap();
    assert_eq!(got, r#"{"a":1,"got":"hello"}"#);
    let says = "which is at 127.0.0.1: such an address (loopback) must itself be granted";
    refused(&host, &[mode, ("url", &by_name), ("plugin.grants.hosts", "db.example.com")], &["asked for db.example.com:", says])
        .await;
    let says = "looked up evil.example.net, which plugin.grants.hosts does not grant";
    refused(&host, &[mode, ("url", "evil.example.net:80"), ("plugin.grants.hosts", &both)], &[says]).await;
    let listen = [("mode", "listen"), ("url", "127.0.0.1:0"), ("plugin.grants.hosts", "127.0.0.1")];
    refused(&host, &listen, &["wants to listen at 127.0.0.1:0: plugins only connect"]).await;
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_a_plugin_counts_is_on_the_page_and_bounded() {
    let server = WebServer::start().await.unwrap();
    let host = open_host(|_| {});
    let class = "penstock.tests.Fetch";
    let url = format!("http://127.0.0.1:{}/hello", server.port());
    let props = [("url", url.as_str()), ("plugin.grants.hosts", "127.0.0.1")];
    let mut transform = host.transform(class, &props).await.unwrap();
    for _ in 0..3 {
        transform.apply_batch(&mut json_batch(&["{}"]), &context(class)).await.unwrap();
    }
    let page = host.metrics.page();
    let labels = r#"connector="orders",task="0",transformation="t""#;
    for line in [
        "# TYPE kafka_connect_plugins_fetched_total counter",
        &format!("kafka_connect_plugins_fetched_total{{{labels},mode=\"fetch\"}} 3"),
        &format!("kafka_connect_plugins_fetched_bytes_bucket{{{labels},le=\"8\"}} 0"),
        &format!("kafka_connect_plugins_fetched_bytes_sum{{{labels}}} 27"),
        &format!("kafka_connect_plugins_fetched_bytes_count{{{labels}}} 3"),
    ] {
        assert!(page.lines().any(|known| known == line), "{page} has no {line}");
    }
    transform.stop().await;
    assert_eq!(host.metrics.page(), "", "they end with the task");

    let many = [("url", "-"), ("mode", "too-many-metrics")];
    let mut transform = host.transform(class, &many).await.unwrap();
    let mut batch = json_batch(&["{}"]);
    transform.apply_batch(&mut batch, &context(class)).await.unwrap();
    assert_eq!(shown(&batch), [r#"{"got":"kept going"}"#]);
    assert_eq!(host.metrics.page().matches("kafka_connect_plugins_numbered{").count(), 98);
    let bad = fetch(&host, &[("url", "-"), ("mode", "bad-metric")]).await.unwrap();
    assert!(bad.contains("misused metrics.declare") && bad.contains("is no name of a metric"), "{bad}");
}
