//! Writes this node's role to a file. Every call may be repeated; what is as it should be stays
//! untouched.

use carpd_hook::{Event, Result, file, hook, log};

hook!(on_master, on_backup);

const ROLE: &str = "/run/NAME.role";

/// We are master: the addresses are up and announced.
fn on_master(event: Event) -> Result {
    file::write(ROLE, b"master\n", Default::default())?;
    log::info("Took over", &[("instance".to_owned(), event.instance.name)]);
    Ok(())
}

/// We are not master, or no longer: the addresses are gone. What on_master did is undone after
/// this.
fn on_backup(event: Event) -> Result {
    log::info("Stands by", &[("instance".to_owned(), event.instance.name)]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use carpd_hook::fake;

    use super::*;

    #[test]
    fn a_master_writes_its_role_down() {
        on_master(fake::event("on_master")).unwrap();
        assert_eq!(
            fake::asked(),
            ["file.write /run/NAME.role (7 bytes)", "log.info Took over"]
        );
    }

    #[test]
    fn what_fails_ends_the_run_with_its_words() {
        fake::fail("file.write", "no space left on device");
        assert_eq!(
            on_master(fake::event("on_master")).unwrap_err().to_string(),
            "no space left on device"
        );
    }
}
