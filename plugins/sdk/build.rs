//! Lists the files of the SDK, each with its text.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The SDK's crates and what they are generated from.
const FOLDERS: [&str; 4] = ["plugins/api", "plugins/guest", "plugins/testing", "wit"];
const KINDS: [&str; 3] = ["rs", "toml", "wit"];

fn main() {
    let tree = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../..");
    let tree = tree.canonicalize().expect("the crate lies in its tree");
    let mut files = vec![tree.join("Cargo.toml"), tree.join("LICENSE")];
    for folder in FOLDERS {
        println!("cargo:rerun-if-changed={}", tree.join(folder).display());
        collect(&tree.join(folder), &mut files);
    }
    println!("cargo:rerun-if-changed={}", tree.join("Cargo.toml").display());
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        let inside = file.strip_prefix(&tree).expect("all lie in the tree").display();
        writeln!(list, "    (\"{inside}\", include_str!(\"{}\")),", file.display()).expect("writing to a String cannot fail");
    }
    list.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("files.rs");
    fs::write(out, list).expect("the folder is cargo's");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the SDK's folders are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known)) {
            files.push(path);
        }
    }
}
