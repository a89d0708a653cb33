//! By which ways calls can be caught, and which was taken.

use serde::Serialize;

use super::Call;

/// By which way a call is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Way {
    /// `fmod_ret` on `security_*`: whether or not BPF is in the list of security modules.
    #[serde(rename = "fmod_ret")]
    Question,
    /// BPF LSM.
    #[serde(rename = "lsm")]
    Module,
    /// `fmod_ret` on the system call's own function.
    #[serde(rename = "syscall")]
    SystemCall,
}

impl Way {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Question => "fmod_ret",
            Self::Module => "BPF LSM",
            Self::SystemCall => "fmod_ret on the system call",
        }
    }
}

/// A call that is caught, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooked {
    /// Which.
    pub call: Call,
    /// By which way.
    pub way: Way,
    /// The functions of the kernel's.
    pub functions: Vec<String>,
}
