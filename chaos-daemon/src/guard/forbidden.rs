//! Cgroups that the host's owner has forbidden as targets, whoever looks them up and whenever: at the start, and for those
//! that join later.

use glob::Pattern;

/// Paths below the root of the hierarchy, part by part, with `*` for any name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forbidden(pub Vec<Pattern>);

impl Forbidden {
    /// The first pattern of a cgroup that this one is, lies in, or may hold.
    pub fn reached_by(&self, name: &str) -> Option<&Pattern> {
        self.0.iter().find(|pattern| overlaps(pattern, name))
    }
}

fn overlaps(pattern: &Pattern, name: &str) -> bool {
    let parts = |path: &str| -> Vec<String> {
        path.split('/').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect()
    };
    let (wanted, named) = (parts(pattern.as_str()), parts(name));
    wanted
        .iter()
        .zip(&named)
        .all(|(wanted, part)| wanted == part || Pattern::new(wanted).is_ok_and(|wanted| wanted.matches(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_cgroup_is_so_with_what_it_lies_in_and_holds() {
        let pattern = Pattern::new("/system.slice/postgresql*").unwrap();
        for name in [
            "/",
            "/system.slice",
            "/system.slice/postgresql@15-main.service",
            "/system.slice/postgresql.service/a",
        ] {
            assert!(overlaps(&pattern, name), "{name}");
        }
        for name in ["/user.slice", "/system.slice/redis.service", "/system.slice2"] {
            assert!(!overlaps(&pattern, name), "{name}");
        }
    }
}
