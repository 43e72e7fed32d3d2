//! The promises of the option table and of the layers above it.

use super::*;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

fn words<'a>(list: &'a [&'a str]) -> impl Iterator<Item = OsString> + 'a {
    std::iter::once("neokv").chain(list.iter().copied()).map(OsString::from)
}

fn pairs<'a>(list: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (OsString, OsString)> + 'a {
    list.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)))
}

fn serve(flags: &[&str], environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    match load(words(flags), pairs(environment))? {
        Request::Serve(settings) => Ok(settings),
        Request::PrintConfig(_) => panic!("expected to serve"),
    }
}

/// A configuration file that lives as long as the returned directory.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("neokv.toml");
    std::fs::write(&path, text).expect("write");
    let path = path.to_str().expect("UTF-8").to_owned();
    (dir, path)
}

#[test]
fn every_default_is_allowed_and_typed() {
    let settings = defaults().expect("the table is consistent");
    assert_eq!(settings.list.len(), OPTIONS.len());
    assert!(settings.list.iter().all(|setting| setting.source == Source::Default));
    let config = settings.config;
    assert_eq!((config.port, config.sync, config.cluster_mode), (16379, Sync::Always, false));
    assert_eq!(config.bind, [IpAddr::from([127, 0, 0, 1])]);
    assert_eq!(config.proto_max_bulk_len, 512 << 20);
    assert_eq!(config.metrics_bind, None);
    assert_eq!(settings.notes, Vec::<String>::new());
}

#[test]
fn names_are_unique_in_every_place() {
    for names in [
        OPTIONS.iter().map(|option| option.name.to_owned()).collect::<Vec<_>>(),
        OPTIONS.iter().map(ConfigOption::env).collect(),
        OPTIONS.iter().map(ConfigOption::toml).collect(),
        OPTIONS.iter().map(|option| option.config_get.to_owned()).collect(),
    ] {
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }
    let port = OPTIONS.iter().find(|option| option.name == "max-args").expect("exists");
    assert_eq!((port.env().as_str(), port.toml().as_str()), ("NEOKV_MAX_ARGS", "limits.max-args"));
}

#[test]
fn the_first_layer_that_speaks_wins() {
    let (_dir, path) = file("[network]\nport = 3\nmaxclients = 3\ntimeout = 3\n");
    let environment = [
        ("NEOKV_PORT", "2"),
        ("NEOKV_MAXCLIENTS", "2"),
        ("NEOKV_CONFIG", path.as_str()),
        ("PORT", "9"),
    ];
    let settings = serve(&["--port", "1"], &environment).expect("loads");
    let config = &settings.config;
    assert_eq!((config.port, config.maxclients, config.timeout.as_secs()), (1, 2, 3));
    let source = |name: &str| {
        settings
            .list
            .iter()
            .find(|setting| setting.option.name == name)
            .map(|setting| setting.source.to_string())
    };
    assert_eq!(source("port").as_deref(), Some("flag --port"));
    assert_eq!(source("maxclients").as_deref(), Some("environment variable NEOKV_MAXCLIENTS"));
    assert_eq!(source("timeout"), Some(format!("configuration file {path}, key network.timeout")));
    assert_eq!(source("dir").as_deref(), Some("default"));
}

#[test]
fn the_flag_names_the_file_before_the_environment_does() {
    let (_first, flag) = file("[network]\nport = 1\n");
    let (_second, variable) = file("[network]\nport = 2\n");
    let settings = serve(&["--config", &flag], &[("NEOKV_CONFIG", &variable)]).expect("loads");
    assert_eq!(settings.config.port, 1);
}

#[test]
fn flags_stand_alone_or_take_a_word() {
    assert!(serve(&["--cluster-mode"], &[]).expect("loads").config.cluster_mode);
    assert!(!serve(&["--cluster-mode=no"], &[]).expect("loads").config.cluster_mode);
    assert!(serve(&[], &[("NEOKV_CLUSTER_MODE", "on")]).expect("loads").config.cluster_mode);
}

#[test]
fn toml_values_keep_their_natural_types() {
    let (_dir, path) = file(
        "[network]\nbind = [\"127.0.0.1\", \"::1\"]\ncluster-mode = true\n\
         [storage]\nsync = \"everysec\"\n\
         block-cache = \"2mb\"\n",
    );
    let config = serve(&["--config", &path], &[]).expect("loads").config;
    assert_eq!(config.bind.len(), 2);
    assert!(config.cluster_mode);
    assert_eq!((config.sync, config.block_cache), (Sync::EverySec, 2 << 20));
}

#[test]
fn an_error_names_the_place_and_what_is_allowed() {
    let error = serve(&["--port", "70000"], &[]).expect_err("out of range").to_string();
    assert_eq!(
        error,
        "error: '70000' is not allowed for port\n  where: flag --port\n  \
         allowed: a whole number from 0 to 65535\n  \
         try: neokv --help"
    );
    let error = serve(&[], &[("NEOKV_SYNC", "often")]).expect_err("no such word").to_string();
    assert!(
        error.contains("where: environment variable NEOKV_SYNC\n  allowed: always, everysec, no\n"),
        "{error}"
    );
    let (_dir, path) = file("[network]\nbind = \"nowhere\"\n");
    let error = serve(&["--config", &path], &[]).expect_err("no address").to_string();
    assert!(
        error.contains(&format!("where: configuration file {path}, key network.bind\n")),
        "{error}"
    );
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    for (text, key, hint) in [
        ("[network]\nprot = 1\n", "network.prot", "did you mean 'network.port'?"),
        ("port = 1\n", "port", "did you mean 'network.port'?"),
        ("[storage]\nmaxclients = 1\n", "storage.maxclients", "did you mean 'network.maxclients'?"),
        ("[elsewhere]\nxyzzyplugh = 1\n", "elsewhere.xyzzyplugh", "remove it"),
    ] {
        let (_dir, path) = file(text);
        let error = serve(&["--config", &path], &[]).expect_err("unknown").to_string();
        assert!(error.starts_with(&format!("error: unknown key '{key}'\n")), "{error}");
        assert!(error.ends_with(&format!("try: {hint}")), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_an_error() {
    let error =
        serve(&["--config", "/nonexistent/neokv.toml"], &[]).expect_err("missing").to_string();
    assert!(error.contains("where: /nonexistent/neokv.toml\n  why: No such file"), "{error}");
    let (_dir, path) = file("[network\n");
    assert!(matches!(serve(&["--config", &path], &[]), Err(ConfigError::File { .. })));
}

#[test]
fn unknown_variables_and_open_doors_are_noted() {
    let notes = serve(&["--bind", "0.0.0.0"], &[("NEOKV_PROT", "1")]).expect("loads").notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].starts_with(
            "NEOKV_PROT is set but no option has this name; did you mean 'NEOKV_PORT'?"
        )
    );
    assert!(notes[1].contains("without a password"));
    assert!(
        serve(&["--bind", "0.0.0.0", "--requirepass", "x"], &[]).expect("loads").notes.is_empty()
    );
}

#[test]
fn wrong_flags_are_usage_errors_with_a_suggestion() {
    let Err(ConfigError::Usage(error)) = serve(&["--prot", "1"], &[]) else {
        panic!("expected a usage error")
    };
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("'--port'"), "{error}");
    let Err(ConfigError::Usage(error)) = serve(&["--help"], &[]) else { panic!("expected help") };
    assert_eq!(error.exit_code(), 0);
}

#[test]
fn printed_settings_are_read_back() {
    let flags = [
        "--port",
        "7000",
        "--sync",
        "no",
        "--bind",
        "127.0.0.1,::1",
        "--metrics-bind",
        "127.0.0.1:1",
    ];
    let settings = serve(&flags, &[]).expect("loads");
    let text = print(&settings);
    assert!(text.contains("port = 7000   # from flag --port\n"), "{text}");
    let (_dir, path) = file(&text);
    let again = serve(&["--config", &path], &[]).expect("the printed file loads");
    assert_eq!(again.config, settings.config);
}

#[test]
fn a_printed_password_is_hidden() {
    let text = print(&serve(&["--requirepass", "hush"], &[]).expect("loads"));
    assert!(!text.contains("hush"), "{text}");
    assert!(text.contains("# requirepass = \"(hidden)\"   # from flag --requirepass\n"), "{text}");
}

/// Compares with a file of the repository, or rewrites it when `UPDATE_GOLDENFILES` is set.
fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(&path, actual).expect("write the golden file");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{} differs; UPDATE_GOLDENFILES=1 rewrites it", path.display());
}

#[test]
fn help_is_what_the_golden_files_say() {
    golden("src/config/help.short.txt", &command().render_help().to_string());
    golden("src/config/help.long.txt", &command().render_long_help().to_string());
}

#[test]
fn the_shipped_file_is_what_the_table_prints() {
    golden("../conf/neokv.toml", &print(&defaults().expect("the table is consistent")));
}
