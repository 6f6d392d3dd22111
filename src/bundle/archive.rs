//! The archive: files with fixed times in the order of their names, with a manifest of their digests. The same files give the same
//! bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipWriter};

use crate::chain::hex;

/// The name of the manifest, in the format of `sha256sum`.
pub const MANIFEST: &str = "MANIFEST.sha256";

/// Files by name, packed below one folder, with their manifest.
///
/// # Errors
/// Never in practice: it is written to memory.
pub fn pack(folder: &str, mut files: BTreeMap<String, Vec<u8>>) -> zip::result::ZipResult<Vec<u8>> {
    files.insert(MANIFEST.to_owned(), manifest(&files).into_bytes());
    // The times of day and the system of whoever packs are nobody's business.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(6))
        .last_modified_time(DateTime::default())
        .system(System::Unix)
        .unix_permissions(0o644);
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in &files {
        writer.start_file(format!("{folder}/{name}"), options)?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

/// A line for each file: its SHA-256 and its name.
fn manifest(files: &BTreeMap<String, Vec<u8>>) -> String {
    files.iter().fold(String::new(), |mut text, (name, bytes)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}  {name}", hex(&Sha256::digest(bytes)));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_make_the_same_archive_and_the_manifest_names_each() {
        let files = || BTreeMap::from([("b.txt".to_owned(), b"two".to_vec()), ("a/c.txt".to_owned(), b"one".to_vec())]);
        let first = pack("x", files()).expect("an archive");
        assert_eq!(first, pack("x", files()).expect("an archive"));
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(first)).expect("an archive");
        let names: Vec<String> = archive.file_names().map(|name| name.expect("a name").into_owned()).collect();
        assert_eq!(names, ["x/MANIFEST.sha256", "x/a/c.txt", "x/b.txt"]);
        let mut text = String::new();
        let mut file = archive.by_name("x/MANIFEST.sha256").expect("the manifest");
        std::io::Read::read_to_string(&mut file, &mut text).expect("text");
        assert_eq!(
            text,
            "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed  a/c.txt\n\
             3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3  b.txt\n"
        );
    }
}
