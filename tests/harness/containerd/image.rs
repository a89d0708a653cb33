//! An image with one program, as an archive in OCI's layout.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

/// The archive of an image called `name` that runs `program` as /kct; without words, it waits.
pub fn archive(name: &str, program: &Path) -> Vec<u8> {
    let mut layer = Builder::new(Vec::new());
    add(&mut layer, "kct", &fs::read(program).unwrap());
    for library in libraries(program) {
        add(&mut layer, library.trim_start_matches('/'), &fs::read(&library).unwrap());
    }
    let layer = layer.into_inner().unwrap();
    let config = json!({
        "architecture": match std::env::consts::ARCH { "aarch64" => "arm64", _ => "amd64" },
        "os": "linux",
        "config": { "Entrypoint": ["/kct"], "Cmd": ["wait"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = blob("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({ "io.containerd.image.name": name });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });

    let mut archive = Builder::new(Vec::new());
    add(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    add(&mut archive, "index.json", index.to_string().as_bytes());
    for part in [&config, &manifest, &layer] {
        let digest = digest(part);
        add(&mut archive, &format!("blobs/{}", digest.replace(':', "/")), part);
    }
    archive.into_inner().unwrap()
}

/// What the program is linked against: nothing where the suite was built for guests, too, but a plain `cargo test`
/// does.
fn libraries(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().expect("ldd of the package libc-bin");
    if !output.status.success() {
        return Vec::new();
    }
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

fn add(archive: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_size(content.len().try_into().unwrap());
    header.set_mode(0o755);
    archive.append_data(&mut header, path, content).unwrap();
}

fn blob(kind: &str, content: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(content), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(content))
}
