//! The order of the house, held by tests: which room may know which, and that the tree says nothing it should not.
//! The rules are those of the README's map. Each check is a function from texts to problems, tried on small inputs below.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use penstock_tests::ground::tree;

#[test]
fn crates_look_in_the_right_direction() {
    let manifests: BTreeMap<String, String> = files().into_iter().filter(|(path, _)| path.ends_with("Cargo.toml")).collect();
    none(crate_problems(&manifests));
}

#[test]
fn wasmtime_stays_in_its_room() {
    none(confined(&files(), "wasmtime", |path| path.starts_with("plugins/host/"), "only plugins/host knows wasmtime"));
}

#[test]
fn concrete_plugins_are_named_in_one_file() {
    let connectors = crate_names("connectors/").into_iter().chain(["penstock-transforms".to_owned()]);
    let runtime: BTreeMap<_, _> = files().into_iter().filter(|(path, _)| path.starts_with("runtime/src/")).collect();
    for name in connectors {
        let word = name.replace('-', "_");
        none(confined(&runtime, &word, |path| path == "runtime/src/main.rs", "only runtime/src/main.rs names concrete plugins"));
    }
}

#[test]
fn the_api_does_no_io() {
    let api: BTreeMap<_, _> = files().into_iter().filter(|(path, _)| path.starts_with("plugins/api/src/")).collect();
    for word in ["std::fs", "std::net", "std::process", "tokio", "reqwest", "rdkafka"] {
        none(confined(&api, word, |_| false, "plugins/api does no I/O and builds for wasm32-wasip2"));
    }
}

#[test]
fn runtime_modules_stand_in_line() {
    let files = files();
    let order = modules(&files["runtime/src/lib.rs"]);
    assert!(order.len() > 3, "runtime/src/lib.rs lists the rooms: {order:?}");
    let rooms: BTreeMap<_, _> =
        files.iter().filter_map(|(path, text)| Some((path.strip_prefix("runtime/src/")?.to_owned(), text.clone()))).collect();
    none(order_problems(&order, &rooms));
}

#[test]
fn nothing_in_the_tree_names_a_registry_or_a_machine() {
    none(
        files().iter().filter(|(path, _)| !path.ends_with(".lock")).flat_map(|(path, text)| place_problems(path, text)).collect(),
    );
}

#[test]
fn every_integration_test_is_run() {
    let main = &files()["tests/it/main.rs"];
    let run: BTreeSet<String> = modules(main).into_iter().collect();
    let written = fs::read_dir(tree().join("tests/it")).expect("tests/it is a folder").flatten();
    let names = written.filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned()));
    none(
        names
            .filter(|name| name != "main" && !run.contains(name))
            .map(|name| format!("tests/it/{name}.rs is not in main.rs"))
            .collect(),
    );
}

#[test]
fn what_the_readme_maps_is_there() {
    let Some(readme) = files().remove("README.md") else { return };
    let exists = |path: &str| tree().join(path).exists();
    none(map_problems(&readme, exists));
}

// ---- the checks ----

/// Which of our crates each may use, by folder. A folder that is not listed may use none.
fn may_use(user: &str, used: &str) -> bool {
    match user {
        "plugins/api" => false,
        "plugins/guest" => matches!(used, "penstock-api" | "penstock-plugin-testing"),
        "plugins/testing" | "plugins/host" | "plugins/kafka" | "plugins/transforms" => used == "penstock-api",
        "plugins/host/fuzz" => used == "penstock-host",
        "runtime" => !matches!(used, "penstock-tests" | "penstock-retail" | "penstock-plugin"),
        _ if user.starts_with("connectors/") => matches!(used, "penstock-api" | "penstock-kafka-clients"),
        // Guests of the tests and of the example are plugin authors.
        _ if ["tests/guests", "examples/retail/transform", "examples/http-", "plugins/sdk/templates"]
            .iter()
            .any(|plugin| user.starts_with(plugin)) =>
        {
            used == "penstock-plugin"
        }
        _ if user.starts_with("examples/") => true,
        "tests" => used != "penstock-retail",
        _ => false,
    }
}

fn crate_problems(manifests: &BTreeMap<String, String>) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, manifest) in manifests {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else { continue };
        for used in dependencies(manifest) {
            let is_ours = used == "penstock" || used.starts_with("penstock-");
            if is_ours && !may_use(folder, &used) {
                problems.push(format!("{path} depends on {used}"));
            }
            if used.starts_with("wasmtime") && folder != "plugins/host" {
                problems.push(format!("{path} depends on {used}"));
            }
        }
    }
    problems
}

/// What a crate needs to be built; what only its tests need does not bind it.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside =
                section.ends_with("dependencies") && !section.ends_with("dev-dependencies") && !section.starts_with("workspace");
            if let Some((_, name)) = section.split_once("dependencies.").filter(|_| !section.starts_with("dev-")) {
                found.push(name.to_owned());
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            found.push(line.split(['.', ' ', '=']).next().unwrap_or_default().trim_matches('"').to_owned());
        }
    }
    found
}

/// Rust files in which a word stands, outside comments, though it must not.
fn confined(files: &BTreeMap<String, String>, word: &str, allowed: impl Fn(&str) -> bool, rule: &str) -> Vec<String> {
    let rust = files.iter().filter(|(path, _)| path.ends_with(".rs") && !path.starts_with("tests/it/tidy") && !allowed(path));
    let mut problems = Vec::new();
    for (path, text) in rust {
        for (number, line) in code_lines(text) {
            if line.contains(&format!("{word}::")) || line.contains(&format!("use {word}")) {
                problems.push(format!("{path}:{number}: {rule}: {}", line.trim()));
            }
        }
    }
    problems
}

/// Uses of a later module by an earlier one. `rooms`: files of the crate by path below `src`.
fn order_problems(order: &[String], rooms: &BTreeMap<String, String>) -> Vec<String> {
    let place = |module: &str| order.iter().position(|known| known == module);
    let mut problems = Vec::new();
    for (path, text) in rooms {
        let room = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some(own) = place(room) else { continue };
        let code = without_comments(text);
        for (at, used) in crate_paths(&code) {
            if place(&used).is_some_and(|used| used > own) {
                let number = code[..at].matches('\n').count() + 1;
                problems.push(format!("{path}:{number}: {room} uses {used}, which stands below it in lib.rs"));
            }
        }
    }
    problems
}

/// The first names after each `crate::`, those of a braced group too, with the place where it stands.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(top_level(group).iter().map(|path| (at, first_name(path)))),
            None => found.push((at, first_name(rest))),
        }
    }
    found
}

/// The parts of a braced group that is open at the start of the text, split at its own commas only.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[start..at]);
                return parts;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts
}

fn first_name(path: &str) -> String {
    path.trim().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Names that hold on one machine or for one company only.
fn place_problems(path: &str, text: &str) -> Vec<String> {
    // Written in pieces, so that this file does not hold what it looks for.
    let hosts = [
        "index.crates",
        "static.crates",
        "repo.maven.apache",
        "repo1.maven",
        "files.pythonhosted",
        "registry.npmjs",
        "proxy.golang",
    ];
    let registries = hosts.map(|host| format!("{host}."));
    let machine = ["root", "work", "home"].map(|folder| format!("/{folder}/"));
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let is_path = |folder: &String| {
            line.match_indices(folder.as_str())
                .any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric() || "}_-.$*".contains(before)))
        };
        if registries.iter().any(|host| line.contains(host)) || machine.iter().any(is_path) {
            problems.push(format!("{path}:{}: names a registry's host or a path of one machine: {}", number + 1, line.trim()));
        }
    }
    problems
}

/// Paths that the README's map (the fenced block below a heading with the word "map") names and that do not exist. A line of the map is a
/// path, or several, then two spaces and what it is; an indented line goes on below the folder of the line that is less indented.
fn map_problems(readme: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let lower = |line: &str| line.to_lowercase();
    let section = readme.lines().skip_while(|line| !(line.starts_with('#') && lower(line).contains("map")));
    let block = section.skip_while(|line| !line.starts_with("```")).skip(1).take_while(|line| !line.starts_with("```"));
    let mut folders: Vec<(usize, String)> = Vec::new();
    let mut problems = Vec::new();
    let mut count = 0;
    for line in block.filter(|line| !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let names = line.trim_start().split("  ").next().unwrap_or_default();
        folders.retain(|(above, _)| *above < indent);
        let parent = folders.last().map(|(_, folder)| folder.clone()).unwrap_or_default();
        for name in names.split([' ', ',']).filter(|name| is_path_like(name)) {
            count += 1;
            let path = parent.clone() + name;
            if !exists(&path) {
                problems.push(format!("README.md's map names {path}, which is not there"));
            }
            if name.ends_with('/') {
                folders.push((indent, path));
            }
        }
    }
    if count == 0 {
        problems.push("README.md has no map: a fenced block of paths below a heading with the word map".to_owned());
    }
    problems
}

fn is_path_like(name: &str) -> bool {
    let letters = name.chars().all(|letter| letter.is_alphanumeric() || "/._-".contains(letter));
    letters && (name.ends_with('/') || name.contains('.') || name.contains('/')) && name.len() > 1
}

// ---- reading the tree ----

/// All text files that git knows or would add, by path from the root.
fn files() -> BTreeMap<String, String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(tree())
        .output()
        .expect("git lists the tree's files");
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let read = |name: &str| Some((name.to_owned(), fs::read_to_string(tree().join(name)).ok()?));
    let files: BTreeMap<_, _> = names.lines().filter_map(read).collect();
    assert!(files.len() > 20, "git ls-files names the tree's files: {}", String::from_utf8_lossy(&listed.stderr));
    files
}

fn crate_names(folder: &str) -> Vec<String> {
    let manifests = files().into_iter().filter(|(path, _)| path.starts_with(folder) && path.ends_with("Cargo.toml"));
    let name = |text: &str| text.lines().find_map(|line| Some(line.strip_prefix("name = \"")?.trim_end_matches('"').to_owned()));
    manifests.filter_map(|(_, text)| name(&text)).collect()
}

/// The modules that a file declares, in its order.
fn modules(text: &str) -> Vec<String> {
    let declared = text.lines().map(|line| line.trim().trim_start_matches("pub "));
    declared.filter_map(|line| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())).collect()
}

/// Lines without comment lines, numbered from 1.
fn code_lines(text: &str) -> Vec<(usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

/// The text with its comment lines emptied.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| if line.trim_start().starts_with("//") { "\n".to_owned() } else { format!("{line}\n") }).collect()
}

fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

// ---- the checks on small inputs ----

fn texts<const N: usize>(files: [(&str, &str); N]) -> BTreeMap<String, String> {
    files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()
}

#[test]
fn a_wrong_dependency_is_found() {
    let manifests = texts([
        ("plugins/api/Cargo.toml", "[dependencies]\nserde = \"1\"\n[dev-dependencies]\npenstock-host.workspace = true"),
        ("connectors/file/Cargo.toml", "[dependencies]\npenstock-api = { path = \"x\" }\npenstock.workspace = true"),
        (
            "runtime/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nwasmtime = \"48\"\n[dependencies.penstock-tests]\npath = \"../tests\"",
        ),
        ("plugins/host/Cargo.toml", "[dependencies]\nwasmtime.workspace = true\npenstock-api.workspace = true"),
    ]);
    assert_eq!(
        crate_problems(&manifests),
        [
            "connectors/file/Cargo.toml depends on penstock",
            "runtime/Cargo.toml depends on wasmtime",
            "runtime/Cargo.toml depends on penstock-tests"
        ]
    );
}

#[test]
fn a_module_that_looks_down_is_found() {
    let order = ["metrics", "task", "rest"].map(str::to_owned);
    let rooms = texts([
        ("metrics.rs", "use crate::task::unit::Unit;\n// crate::rest may be named here\nuse std::fmt;"),
        (
            "task/sink.rs",
            "use crate::metrics;\nfn f() { crate::rest::router() }\nuse crate::{\n  metrics::{self, rest},\n  rest::x};",
        ),
        ("rest/mod.rs", "use crate::{metrics, task};"),
    ]);
    let problems = order_problems(&order, &rooms);
    assert_eq!(
        problems,
        [
            "metrics.rs:1: metrics uses task, which stands below it in lib.rs",
            "task/sink.rs:2: task uses rest, which stands below it in lib.rs",
            "task/sink.rs:3: task uses rest, which stands below it in lib.rs",
        ]
    );
}

#[test]
fn a_word_in_the_wrong_room_is_found() {
    let files =
        texts([("a/x.rs", "use wasmtime::Engine;\n// wasmtime::Store"), ("b/y.rs", "let engine = wasmtime::Engine::default();")]);
    let problems = confined(&files, "wasmtime", |path| path.starts_with("a/"), "rule");
    assert_eq!(problems, ["b/y.rs:1: rule: let engine = wasmtime::Engine::default();"]);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let check = |line: &str| place_problems("f", line).len();
    let at = |folder: &str| format!("/{folder}/main");
    assert_eq!(check(&format!("cd {}", at("root"))), 1);
    assert_eq!(check(&format!("see https://index.crates{}", ".io/x")), 1);
    assert_eq!(check(&format!("${{CARGO}}{} and https://x.y{}", at("work"), at("home"))), 0);
}

#[test]
fn a_gap_in_the_map_is_found() {
    let readme =
        "# X\n## The map\n\n```\nruntime/   the worker\n  src/main.rs   start\n  gone.rs lib.rs  two\nLICENSE-X.txt  no\n```\n";
    let there = ["runtime/", "runtime/src/main.rs", "runtime/lib.rs"];
    assert_eq!(
        map_problems(readme, |path| there.contains(&path)),
        ["README.md's map names runtime/gone.rs, which is not there", "README.md's map names LICENSE-X.txt, which is not there"]
    );
    assert_eq!(map_problems("# X\nno map", |_| true).len(), 1);
}
