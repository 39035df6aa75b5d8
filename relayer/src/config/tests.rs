use std::os::unix::fs::PermissionsExt;

use rustls_shangmi::Pairing;

use super::*;
use crate::disk::SystemDisk;

const ANNOTATED: &str = include_str!("../../../deploy/relayer.toml");

#[test]
fn the_annotated_file_is_the_default_configuration() {
    assert_eq!(parse(ANNOTATED).unwrap(), Config::default());
}

#[test]
fn the_annotated_file_mentions_every_key() {
    let every: toml::Table = toml::from_str(&Config::default().to_toml()).unwrap();
    let annotated: toml::Table = toml::from_str(ANNOTATED).unwrap();
    assert_mentions(&every, &annotated);
}

fn assert_mentions(every: &toml::Table, annotated: &toml::Table) {
    for (key, value) in every {
        let found = annotated.get(key);
        assert!(found.is_some(), "{key} is missing");
        if let (Some(inner), Some(found)) = (value.as_table(), found.and_then(toml::Value::as_table)) {
            assert_mentions(inner, found);
        }
    }
}

#[test]
fn the_defaults_are_valid() {
    Config::default().validate().unwrap();
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = parse("[gateway]\nlisten_adress = \"0.0.0.0:1\"").unwrap_err();
    assert!(chain(&error).contains("listen_adress"), "{}", chain(&error));
    assert!(chain(&parse("[gatway]").unwrap_err()).contains("gatway"));
}

#[test]
fn a_value_of_another_type_is_refused_by_key() {
    let error = parse("[limits]\nconnections_max = \"many\"").unwrap_err();
    assert!(chain(&error).contains("connections_max"), "{}", chain(&error));
}

#[test]
fn a_value_out_of_limits_names_key_value_and_limit() {
    for (text, expected) in [
        ("[gateway]\nmax_payload = 512", "gateway.max_payload is 512, but it has to be at least 8192"),
        ("[batch]\nrecords_max = 301", "batch.records_max is 301, but it has to be at most 300"),
        (
            "[gateway]\nanswer_window_blocks = 7000",
            "gateway.deadline_margin_blocks is 240, but it has to be at most 200",
        ),
        ("[limits]\nidle_timeout_ms = 1", "limits.idle_timeout_ms is 1, but it has to be at least 60000"),
        ("[gateway]\nlisten = \"4622\"", "gateway.listen is \"4622\", but it has to be host:port"),
        (
            "[chain]\nendpoints = [\"ws://u:p@h/x\"]",
            "chain.endpoints is ws://…@h/…, but it has to be an http:// or https:// URL",
        ),
        ("[chain]\nendpoints = []", "chain.endpoints is 0, but it has to be at least 1"),
        (
            "[chain]\nendpoints = [\"http://h/k\", \"http://g\", \"http://h/k\"]",
            "chain.endpoints is http://h/…, but each endpoint has to be named once: it has one vote",
        ),
        (
            "[chain]\nendpoints = [\"http://h\", \"http://g\"]\nquorum = 3",
            "chain.quorum is 3, but it has to be at most 2",
        ),
        ("[chain]\nquorum = 0", "chain.quorum is 0, but it has to be at least 1"),
    ] {
        assert_eq!(parse(text).unwrap().validate().unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let environment = [
        ("RELAYER__CHAIN__POLL_INTERVAL_MS", "77"),
        ("RELAYER__CHAIN__ENDPOINTS", "[\"https://example.org/key?a=b,c\", \"http://127.0.0.1:1\"]"),
        ("RELAYER_CONFIG", "not a key"),
    ];
    let config = parse_with("[chain]\npoll_interval_ms = 5\nreplace_blocks = 99", &environment).unwrap();
    assert_eq!(config.chain.poll_interval_ms, 77);
    assert_eq!(config.chain.replace_blocks, 99);
    let endpoints: Vec<&str> = config.chain.endpoints.iter().map(Endpoint::expose).collect();
    assert_eq!(endpoints, ["https://example.org/key?a=b,c", "http://127.0.0.1:1"]);
    let one = parse_with("", &[("RELAYER__CHAIN__ENDPOINTS", "https://example.org")]).unwrap();
    assert_eq!(one.chain.endpoints, [Endpoint::new("https://example.org")], "one needs no list");
}

#[test]
fn the_quorum_is_a_majority_unless_it_is_given() {
    for (endpoints, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
        assert_eq!(Config::default().chain.quorum.of(endpoints), majority);
    }
    assert_eq!(parse("[chain]\nquorum = 1").unwrap().chain.quorum.of(3), 1);
    assert_eq!(parse("[chain]\nquorum = \"majority\"").unwrap().chain.quorum.of(3), 2);
    assert!(parse("[chain]\nquorum = \"most\"").is_err());
}

#[test]
fn endpoints_that_do_not_parse_are_not_shown() {
    let error = parse("[chain]\nendpoints = { a = \"http://user:secret@h\" }").unwrap_err();
    let shown = chain(&error);
    assert!(shown.contains("list of URLs") && !shown.contains("secret"), "{shown}");
}

#[test]
fn an_unknown_variable_is_refused_by_name() {
    let error = parse_with("", &[("RELAYER__CHAIN__ENDPIONTS", "http://h")]).unwrap_err();
    assert!(chain(&error).contains("endpionts"), "{}", chain(&error));
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relayer.toml");
    SystemDisk
        .write_atomic(&path, b"[journal]\npath = \"data/j\"\n[admin]\nsocket = \"/run/r.sock\"")
        .unwrap();
    let config = Config::load(&SystemDisk, &path, false).unwrap();
    assert_eq!(config.journal.path, folder.path().join("data/j"));
    assert_eq!(config.admin.socket, Path::new("/run/r.sock"));
    assert_eq!(config.gateway.root, folder.path().join("pki/root.pem"));
}

#[test]
fn the_mode_of_tls_names_the_pairings_and_each_has_files_of_its_own() {
    assert_eq!(Config::default().tls.mode.pairings(), [Pairing::Standard]);
    for (mode, pairings) in [("shangmi", &[Pairing::ShangMi][..]), ("both", &Pairing::ALL)] {
        assert_eq!(parse(&format!("[tls]\nmode = {mode:?}")).unwrap().tls.mode.pairings(), pairings);
        let config = parse_with("", &[("RELAYER__TLS__MODE", mode)]).unwrap();
        assert_eq!(config.tls.mode.pairings(), pairings);
    }
    let error = parse("[tls]\nmode = \"tlcp\"").unwrap_err();
    assert!(chain(&error).contains("tlcp"), "{}", chain(&error));
    let environment = [("RELAYER__TLS__SHANGMI__CERTIFICATE_KEY", "/secrets/sm2.key")];
    let mut config = parse_with("", &environment).unwrap();
    config.resolve(Path::new("/etc/relayer"));
    let files = config.tls_files(Pairing::ShangMi);
    let key = TlsFile { key: "tls.shangmi.certificate_key", path: Path::new("/secrets/sm2.key") };
    let root = TlsFile { key: "tls.shangmi.root", path: Path::new("/etc/relayer/pki/sm2-root.pem") };
    assert_eq!((files.certificate_key, files.root), (key, root));
    assert_eq!(config.tls_files(Pairing::Standard).root.key, "gateway.root");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(&SystemDisk, Path::new("/nowhere/relayer.toml"), false).unwrap_err();
    assert_eq!(error.to_string(), "configuration /nowhere/relayer.toml cannot be read");
}

#[test]
fn credentials_of_an_endpoint_are_never_shown() {
    let mut config = Config::default();
    for (url, shown) in [
        ("https://user:secret@host:443/v1/secret?k=secret", "https://…@host:443/…"),
        ("https://host?secret", "https://host/…"),
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("secret", "…"),
    ] {
        config.chain.endpoints = vec![Endpoint::new(url)];
        assert_eq!(config.chain.endpoints[0].to_string(), shown);
        assert!(!format!("{config:?}{}", config.to_toml()).contains(if url == shown {
            "@"
        } else {
            "secret@"
        }));
    }
}

#[test]
fn a_key_file_readable_by_others_is_refused_unless_in_development() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    SystemDisk.write_atomic(&path, format!("0x{}\n", "ab".repeat(32)).as_bytes()).unwrap();
    assert_eq!(Secret::read(&SystemDisk, "k", &path, false).unwrap().expose(), &[0xab; 32]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        Secret::read(&SystemDisk, "k", &path, false).unwrap_err(),
        ConfigError::NotPrivate { key: "k", .. }
    ));
    Secret::read(&SystemDisk, "k", &path, true).unwrap();
}

#[test]
fn a_key_file_of_another_length_is_refused_without_showing_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    SystemDisk.write_atomic(&path, b"abcdef").unwrap();
    let error = Secret::read(&SystemDisk, "chain.signer_key_files", &path, false).unwrap_err();
    assert!(matches!(error, ConfigError::NotHex { .. }));
    assert!(!chain(&error).contains("abcdef"));
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_with(text, &[])
}

fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(Path::new("relayer.toml"), text, environment)
}

/// An error with all its causes, as the CLI shows it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
