//! The notifier's own process.

use std::fs::File;
use std::io::{self, Seek as _};
use std::process::ExitCode;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Errand, Letter, MESSAGE_MAX, Outcome, PREFIX};
use crate::frame::{self, FrameError, Inbox};
use crate::host::children::prober::Finding;
use crate::host::children::prober::command::Command;
use crate::host::children::process::{connect, drop_signals, runtime};
use crate::host::kernel::memory;
use crate::host::kernel::sealed::{OnExec, sealed};
use crate::sandbox::confine_prober;

/// The notifier: becomes the user of the errand, runs its program with the letter that comes over
/// standard input, and reports how that went.
#[must_use]
pub fn main(errand: Errand) -> ExitCode {
    let refused = confine_prober(&errand.user).err();
    // What reading the configuration took.
    memory::give_back();
    let served = runtime().and_then(|runtime| {
        let served = runtime.block_on(async { serve(connect()?, errand, refused).await });
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "A notifier process stopped");
            ExitCode::FAILURE
        }
    }
}

async fn serve(mut stream: UnixStream, errand: Errand, refused: Option<String>) -> io::Result<()> {
    drop_signals()?;
    let letter = frame::next::<Letter>(&mut stream, &mut Inbox::default(), MESSAGE_MAX).await;
    let letter = match letter {
        // It is no longer wanted.
        Err(FrameError::Closed) => return Ok(()),
        letter => letter?,
    };
    let outcome = tokio::select! {
        outcome = run(errand, letter, refused) => outcome,
        // Kills what it has started.
        _ = stream.read_u8() => return Ok(()),
    };
    let bytes = frame::encode(&outcome, MESSAGE_MAX)?;
    stream.write_all(&bytes).await
}

async fn run(errand: Errand, letter: Letter, refused: Option<String>) -> Outcome {
    if let Some(why) = refused {
        return Err(why);
    }
    if letter.target != errand.target {
        return Err("the configuration is just being changed".to_owned());
    }
    let argv = errand.argv?;
    let own = letter.variables.into_iter();
    let own = own.filter(|(name, _)| name.starts_with(PREFIX));
    let environment = own.chain(errand.environment).collect();
    let input = sealed(c"carpd-notification", &letter.input, OnExec::Closed);
    let input = input.map(File::from).and_then(|mut input| {
        input.rewind()?;
        Ok(input)
    });
    let mut command = Command::new(&argv, environment).with_input(input);
    match command.look(errand.timeout).await {
        Finding::Well | Finding::Number(_) => Ok(()),
        Finding::Bad { reason, .. } => Err(reason),
    }
}
