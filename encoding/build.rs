//! Compiles `proto/neokv.proto` twice: with prost into the types that the server uses, and into a
//! table of the same messages (numbers, names, types, comments) that `explain` walks. Neither needs
//! a `protoc`.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use protox::prost_reflect::{DescriptorPool, Kind, prost_types::FileDescriptorSet};

const PROTO: &str = "proto/neokv.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    println!("cargo:rerun-if-changed=build.rs");
    let files = protox::compile([PROTO], ["proto"])?;
    let table = table(&files)?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("messages.rs"), table)?;
    Ok(())
}

/// The messages as Rust source: `&[Message { name, why, fields: &[Member { number, name, kind,
/// list, why }] }]`.
fn table(files: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let pool = DescriptorPool::from_file_descriptor_set(files.clone())?;
    let mut out = String::from("&[\n");
    for message in pool.all_messages() {
        let file = message.parent_file();
        let comment = |path: &[i32]| {
            let info = file.file_descriptor_proto().source_code_info.as_ref();
            let location =
                info.and_then(|info| info.location.iter().find(|location| location.path == path));
            let text = location
                .map(|location| location.leading_comments().split_whitespace().collect::<Vec<_>>());
            text.unwrap_or_default().join(" ")
        };
        let why = comment(message.path());
        writeln!(out, "    Message {{ name: {:?}, why: {why:?}, fields: &[", message.name())?;
        for field in message.fields() {
            let why = comment(field.path());
            let kind = match field.kind() {
                Kind::Message(inner) => format!("FieldKind::Message({:?})", inner.name()),
                Kind::Bool => "FieldKind::Bool".to_string(),
                Kind::Bytes => "FieldKind::Bytes".to_string(),
                Kind::Uint32 => "FieldKind::Uint32".to_string(),
                Kind::Uint64 => "FieldKind::Uint64".to_string(),
                Kind::Fixed64 => "FieldKind::Fixed64".to_string(),
                other => {
                    return Err(format!(
                        "{}: explain does not know {other:?} yet",
                        field.full_name()
                    )
                    .into());
                }
            };
            let (number, name, list) = (field.number(), field.name(), field.is_list());
            writeln!(
                out,
                "        Member {{ number: {number}, name: {name:?}, kind: {kind}, \
                 list: {list}, why: {why:?} }},"
            )?;
        }
        out.push_str("    ] },\n");
    }
    out.push_str("]\n");
    Ok(out)
}
