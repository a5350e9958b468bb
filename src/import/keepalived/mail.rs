//! `notification_email` and `smtp_alert`: a `[notify.mail]`.

use super::lex::Statement;
use crate::import::Work;
use crate::import::account::Id;
use crate::import::target::Table;
use crate::types::shown;

/// Whom alerts are sent to, and about what.
#[derive(Default)]
pub(super) struct Mail {
    /// The statement that names them.
    recipients: Option<(Id, Vec<String>)>,
    sender: Option<String>,
    /// Is it about all virtual hosts?
    all: bool,
    vhosts: Vec<String>,
    /// The statements that ask for alerts.
    alerts: Vec<Id>,
}

impl Mail {
    /// Takes a statement of `global_defs`; false if it is not about mail.
    pub(super) fn take(&mut self, statement: &Statement, work: &mut Work<'_>) -> bool {
        let (value, id) = (statement.value(), statement.id);
        match statement.name() {
            "notification_email" => {
                let mut recipients: Vec<String> = statement.words.iter().skip(1).cloned().collect();
                for inner in &statement.block {
                    recipients.extend(inner.words.iter().cloned());
                    work.account.translated(inner.id, "`recipients`");
                }
                work.account.translated(id, "`[notify.mail]`");
                self.recipients = Some((id, recipients));
            }
            "notification_email_from" => {
                self.sender = Some(value.to_owned());
                work.account.translated(id, "`sender`");
            }
            "smtp_server" | "smtp_connect_timeout" | "smtp_helo_name" => work.account.different(
                id,
                "the host's mail program sends the mail (`sendmail`), which has a relay of its own",
            ),
            "smtp_alert" | "smtp_alert_vrrp" => {
                if is_on(value) {
                    self.all = true;
                    self.alerts.push(id);
                } else {
                    work.account
                        .unneeded(id, "no mail, unless an instance wants it");
                }
            }
            "smtp_alert_checker" | "no_checker_emails" | "rs_init_notifies" => {
                work.account.unneeded(id, "it is about load balancing");
            }
            "no_email_faults" => work.account.different(
                id,
                "`events`, `from` and `to` say which events a mail is about",
            ),
            _ => return false,
        }
        true
    }

    /// `smtp_alert` of an instance or a group, which these virtual hosts are of.
    pub(super) fn about(&mut self, statement: &Statement, vhosts: &[String], work: &mut Work<'_>) {
        if is_on(statement.value()) {
            self.alerts.push(statement.id);
            for vhost in vhosts {
                if !self.vhosts.contains(vhost) {
                    self.vhosts.push(vhost.clone());
                }
            }
        } else {
            work.account.unneeded(statement.id, "no mail");
        }
    }

    /// Adds the target, if there is to be one.
    pub(super) fn add(&mut self, work: &mut Work<'_>) {
        let Some((id, recipients)) = self.recipients.take() else {
            for id in &self.alerts {
                work.account
                    .untranslated(*id, "no notification_email says to whom");
            }
            return;
        };
        if self.alerts.is_empty() || (!self.all && self.vhosts.is_empty()) {
            work.account
                .unneeded(id, "no smtp_alert asks for mail about VRRP");
            return;
        }
        for id in &self.alerts {
            work.account.translated(*id, "`[notify.mail]`");
        }
        let (good, bad): (Vec<String>, Vec<String>) =
            recipients.into_iter().partition(|text| is_address(text));
        let sender = self.sender.take();
        for text in bad
            .iter()
            .chain(sender.iter().filter(|text| !is_address(text)))
        {
            work.account.open(
                id,
                format!("{} is no mail address that carpd takes", shown(text)),
            );
        }
        if good.is_empty() {
            work.account
                .untranslated(id, "it names no mail address that carpd takes");
            return;
        }
        let mut table = Table::default();
        table.set("kind", "mail");
        table.set("events", vec!["transition"]);
        if !self.all {
            table.set("vhosts", self.vhosts.clone());
        }
        table.set("recipients", good);
        if let Some(sender) = sender.filter(|text| is_address(text)) {
            table.set("sender", sender);
        }
        work.target.notify.insert("mail".to_owned(), table);
    }
}

/// A switch without a value is on.
fn is_on(value: &str) -> bool {
    !["off", "false", "no"].contains(&value)
}

/// As the configuration has them.
fn is_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"<>()[],;:\\\"".contains(c);
    (1..=254).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-')
}
