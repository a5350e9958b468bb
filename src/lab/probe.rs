//! Prober.
use super::role::StepError;
pub(super) fn run(_args: &[String]) -> Result<(), StepError> {
    Ok(())
}
