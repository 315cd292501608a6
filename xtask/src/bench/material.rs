//! The certificate that all contestants show: made when it is first asked for, gone with the bench.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Outcome, find};

/// The name it is for. An address would be another case for those who choose certificates by name.
pub(super) const NAME: &str = "localhost";

/// A certificate of its own signing and its key, ECDSA on P-256: what most sites show today.
pub(super) struct Material {
    /// PEM.
    pub(super) cert: PathBuf,
    /// PEM.
    pub(super) key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub(super) both: PathBuf,
}

impl Material {
    /// Makes one in `dir`.
    pub(super) fn make(dir: &Path) -> Outcome<Self> {
        let openssl = find("openssl").ok_or("openssl is not installed")?;
        let file = |name: &str| dir.join(name);
        let (cert, key, both) = (file("cert.pem"), file("key.pem"), file("both.pem"));
        let mut command = Command::new(openssl);
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-days", "2", "-subj", "/CN=weir-bench", "-addext", &format!("subjectAltName=DNS:{NAME}")]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]).arg(&key).arg("-out").arg(&cert);
        let output = command.output().map_err(|e| format!("openssl: {e}"))?;
        if !output.status.success() {
            return Err(format!("openssl: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let read = |path: &Path| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
        let text = [read(&cert)?, read(&key)?].concat();
        std::fs::write(&both, text).map_err(|e| format!("{}: {e}", both.display()))?;
        Ok(Self { cert, key, both })
    }
}
