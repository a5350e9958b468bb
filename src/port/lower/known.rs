//! What the translation of commands asks of the translation around it: names, values, what was seen
//! before.

use super::super::commands::Arg;
use super::super::grant_name;
use super::super::ir::Expr;
use super::{Lower, Lowered, Settings};

/// What stands for the virtual host's own interface: no device has this name.
const OWN: &str = "/";

impl Lower<'_> {
    /// The name under which this command line is granted; the same one for the same line. What is
    /// another one for each virtual host is a hole in `shape`.
    pub(crate) fn command_name(&mut self, argv: &[String], shape: &[String]) -> String {
        let known = &mut self.shared.commands;
        if let Some((_, name)) = known.iter().find(|(line, _)| line == argv) {
            return name.clone();
        }
        let name = grant_name::of(shape, |name| known.iter().any(|(_, n)| n == name));
        known.push((argv.to_vec(), name.clone()));
        name
    }

    /// Remembers the priority of a rule that is added.
    pub(crate) fn add_rule(
        &mut self,
        rule: &[(&'static str, Expr)],
        priority: Option<Expr>,
    ) -> Expr {
        let priority = priority.unwrap_or_else(|| {
            // As the kernel: below the last that it gave.
            self.guess("a rule without a priority: it gets the one that the kernel gives where there are no other rules");
            Expr::Text((32765_usize.saturating_sub(self.shared.rules.len())).to_string())
        });
        self.shared.rules.push((rule.to_vec(), priority.clone()));
        priority
    }

    /// The priority under which this rule was added.
    pub(crate) fn known_rule(&self, rule: &[(&'static str, Expr)]) -> Option<Expr> {
        let found = self.shared.rules.iter().find(|(known, _)| known == rule);
        found.map(|(_, priority)| priority.clone())
    }

    /// Remembers a symbolic link.
    pub(crate) fn add_link(&mut self, path: &Expr) {
        self.shared.links.push(path.clone());
    }

    /// Do the scripts make this a symbolic link?
    pub(crate) fn is_link(&self, path: &Expr) -> bool {
        self.shared.links.contains(path)
    }

    /// Remembers the address of an alias; `false` if it has another one.
    pub(crate) fn add_label(&mut self, label: &Expr, address: &Expr) -> bool {
        if let Some(known) = self.label(label) {
            return known == *address || self.fixed(address).map(Expr::Text) == Some(known);
        }
        let label = self.name_of_label(label);
        let address = self.fixed(address).map_or(address.clone(), Expr::Text);
        // Where the alias is taken down the variable has another value, or is not there.
        if !varies(&label) && !varies(&address) {
            self.shared.labels.push((label, address));
        }
        true
    }

    /// The address of an alias.
    pub(crate) fn label(&self, label: &Expr) -> Option<Expr> {
        let label = self.name_of_label(label);
        let found = self.shared.labels.iter().find(|(known, _)| *known == label);
        found.map(|(_, address)| address.clone())
    }

    /// The devices that this may be, and whether it is an alias of them, as far as that is known.
    pub(crate) fn devices(&self, value: &Expr) -> Vec<(Expr, bool)> {
        let device = |text: String| {
            let (dev, label) = match text.split_once(':') {
                Some((dev, _)) => (dev.to_owned(), true),
                None => (text, false),
            };
            let own = dev == OWN;
            (if own { Expr::Dev } else { Expr::Text(dev) }, label)
        };
        let known = self.scope.values(value, &self.on_own_device()).known;
        known.into_iter().map(device).collect()
    }

    /// The name of an alias, in the same words wherever it is used.
    fn name_of_label(&self, label: &Expr) -> Expr {
        let text = self.scope.constant(label, &self.on_own_device());
        text.map_or_else(|| label.clone(), Expr::Text)
    }

    fn on_own_device(&self) -> Settings {
        Settings {
            interface: Some(OWN.to_owned()),
            ..self.plain.clone()
        }
    }

    /// The text that the value always is, whatever the virtual host.
    pub(crate) fn fixed(&self, value: &Expr) -> Option<String> {
        self.scope.constant(value, &self.plain)
    }

    /// Is it exactly one word, however it is split?
    pub(crate) fn is_one_word(&self, value: &Expr) -> bool {
        self.scope.is_one_word(value, self.settings)
    }

    /// Is it a value of the configuration that is to be filled in, and nothing else?
    pub(crate) fn is_filled_in(&self, value: &Expr) -> bool {
        match value {
            Expr::Outside(_) => true,
            Expr::Var(name) => {
                self.filled.contains(name) && self.scope.order().is_from_outside(name)
            }
            _ => false,
        }
    }

    /// Does the argument stand without quotes in the script?
    pub(crate) fn is_bare(&self, arg: &Arg) -> bool {
        arg.split || self.bare.contains(&arg.value)
    }

    /// Where programs are looked for besides the usual places.
    pub(crate) fn path(&self) -> &[String] {
        &self.path
    }

    /// What programs find in their environment.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Something that only some shells understand.
    pub(crate) fn of_bash(&mut self, what: &str) {
        if !self.scope.is_bash() {
            self.guess(format!("{what}: only where sh is bash"));
        }
    }

    /// The number of a routing table that has a name.
    pub(crate) fn table_named(&self, name: &str) -> Option<u32> {
        self.settings.tables.get(name).copied()
    }

    /// Does the value begin so, whatever the virtual host?
    pub(crate) fn begins(&self, value: &Expr, with: &str) -> bool {
        self.examples(value)
            .is_some_and(|all| all.iter().all(|text| text.starts_with(with)))
    }

    /// What the value is on some virtual host, if nothing but that is open.
    pub(crate) fn examples(&self, value: &Expr) -> Option<Vec<String>> {
        let some = Settings {
            interface: Some("eth0".into()),
            address: Some("192.0.2.22".into()),
            xparam: Some("x".into()),
            stand_in: Some(|_| "x".into()),
            ..self.plain.clone()
        };
        let values = self.scope.values(value, &some);
        values.complete.then_some(values.known)
    }

    /// The one path that this is on the virtual host that is ported for.
    pub(crate) fn path_here(&self, value: &Expr) -> Option<String> {
        let path = self.scope.constant(value, self.settings)?;
        (path.starts_with('/') && !path.contains("/../")).then_some(path)
    }

    /// May it be the path of a file?
    pub(crate) fn may_be_path(&self, value: &Expr) -> bool {
        self.examples(value)
            .is_none_or(|all| all.iter().any(|text| text.contains('/')))
    }

    /// Does `cd` to it make no difference? Programs of a hook run in `/`, and paths that are not
    /// absolute are not translated.
    pub(crate) fn is_no_move(&mut self, to: &Arg) -> bool {
        let own = self.scope.path().rsplit_once('/');
        let stays = own.is_some_and(|(own, _)| !own.is_empty() && to.word() == own);
        if stays {
            self.differs("cd is left out: programs of a hook run in /");
        }
        stays || to.word() == "/"
    }

    /// Is this the virtual host's own interface?
    pub(crate) fn is_own_device(&self, dev: &Expr) -> bool {
        *dev == Expr::Dev
            || self
                .scope
                .constant(dev, self.settings)
                .is_some_and(|d| Some(&d) == self.settings.interface.as_ref())
    }

    /// May this be the virtual host's own address?
    pub(crate) fn may_be_own_address(&self, cidr: &Expr) -> bool {
        let own = |value: &Expr| matches!(value, Expr::Vip | Expr::Cidr);
        let begins = match cidr {
            Expr::Join(parts) => parts.first().is_some_and(own),
            value => own(value),
        };
        let address = self.settings.address.as_deref();
        begins
            || match self.values(cidr) {
                Some(all) => all.iter().any(|text| text.split('/').next() == address),
                None => true,
            }
    }

    /// Is the number known with which the remembered command ended?
    pub(crate) fn knows_status(&self) -> bool {
        self.remembered == Some(true)
    }

    /// Must what is being run work, since `set -e` looks at its status?
    pub(crate) const fn must_work(&self) -> bool {
        self.must
    }

    /// The address that an alias of /etc/network/interfaces stands for.
    pub(crate) fn alias_address(&mut self, target: &Expr) -> Lowered<Expr> {
        let own = matches!(target, Expr::Join(parts) if parts.first() == Some(&Expr::Dev));
        let name = self.scope.constant(target, self.settings);
        let stanza = name.as_ref().and_then(|name| self.settings.stanza(name));
        match stanza {
            Some(stanza) if stanza.commands => {
                Err("its stanza in the interfaces file has commands of its own".into())
            }
            Some(stanza) => Ok(Expr::Text(stanza.cidr)),
            None if own || name.as_deref().is_some_and(|n| n.ends_with(":ucarp")) => {
                self.guess(
                    "the alias is taken to be the virtual host's address; port what else its stanza does by hand",
                );
                Ok(Expr::Cidr)
            }
            None => Err(
                "what the alias does stands in /etc/network/interfaces: see --interfaces".into(),
            ),
        }
    }

    /// Every text that the value may be, if all are known.
    pub(crate) fn values(&self, value: &Expr) -> Option<Vec<String>> {
        let values = self.scope.values(value, &self.plain);
        values.complete.then_some(values.known)
    }
}

/// Does a variable of the script stand in it?
fn varies(value: &Expr) -> bool {
    match value {
        Expr::Var(_) | Expr::Arg(..) => true,
        Expr::Join(parts) => parts.iter().any(varies),
        _ => false,
    }
}
