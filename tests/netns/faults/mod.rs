//! Random faults on real daemons, and rules that hold after each of them: `tests/faults`.
//!
//! A seed gives a row of labs, each with two or three nodes and a schedule of its own. After each
//! step a third host that asks by ARP, and a look into the nodes' namespaces, must show what the
//! rules want ([`world`]) within the daemon's documented bounds.

mod check;
mod crowd;
mod eye;
mod member;
mod plan;
mod report;
mod runs;
mod stage;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use carpd::lab::clock::now;

use self::check::{Checks, Figures};
use self::plan::{Plan, Random};
use self::stage::Stage;
use crate::rig::Failed;
use crate::{Case, Outcome};

/// The first argument of the long run.
pub(crate) const COMMAND: &str = "--faults";
/// Steps in one lab.
const STEPS_A_LAB: usize = 20;
/// Virtual hosts in the crowd that is always run.
const FEW: usize = 60;
/// The seed of the part that is always run.
const ALWAYS: u64 = 0x00c0_ffee;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "faults::the_rules_know_who_may_hold_an_address",
            world::rules,
        ),
        Case {
            limit: Duration::from_secs(180),
            ..Case::new("faults::a_short_random_schedule_keeps_the_rules", short)
        },
        Case {
            limit: Duration::from_secs(90),
            ..Case::new("faults::of_many_addresses_each_is_held_by_one", || {
                crowd::play(FEW)
            })
        },
    ]
}

/// What is always run: some steps with one-second timers, and some with faster ones.
fn short() -> Outcome {
    let (mut slow, mut fast) = (None, None);
    for number in 0.. {
        let plan = Plan::new(part(ALWAYS, number), 8);
        let slot = if plan.fast { &mut fast } else { &mut slow };
        slot.get_or_insert(plan);
        if let (Some(slow), Some(fast)) = (&slow, &fast) {
            println!(
                "tests/faults --part {:#x} --part {:#x}",
                slow.seed, fast.seed
            );
            let mut figures = Figures::default();
            return [slow, fast]
                .into_iter()
                .try_for_each(|plan| play(plan, &mut figures, 0));
        }
    }
    Ok(())
}

/// The seed of one lab.
fn part(seed: u64, number: u64) -> u64 {
    Random::new(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93)).next()
}

/// What the command line asks for.
struct Options {
    steps: usize,
    seed: u64,
    limit: Option<Duration>,
    /// Just these labs.
    parts: Vec<u64>,
    /// So many virtual hosts on three nodes instead.
    crowd: Option<usize>,
    list: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self {
            steps: 100,
            seed: 1,
            limit: None,
            parts: Vec::new(),
            crowd: None,
            list: false,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut number = || {
                let text = args.next().map_or("", String::as_str);
                let parsed = text
                    .strip_prefix("0x")
                    .map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
                parsed.map_err(|_| format!("{arg} needs a number"))
            };
            match arg.as_str() {
                "--steps" => {
                    options.steps = usize::try_from(number()?).map_err(|err| err.to_string())?;
                }
                "--seed" => options.seed = number()?,
                "--seconds" => options.limit = Some(Duration::from_secs(number()?)),
                "--part" => options.parts.push(number()?),
                "--crowd" => {
                    options.crowd =
                        Some(usize::try_from(number()?).map_err(|err| err.to_string())?);
                }
                "--list" => options.list = true,
                _ => {
                    return Err(format!(
                        "usage: tests/faults [--steps N] [--seed S] [--seconds T] [--part SEED] [--crowd NUMBER] [--list]; not {arg}"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// The labs, one after the other.
    fn plans(&self) -> Vec<Plan> {
        if !self.parts.is_empty() {
            return self
                .parts
                .iter()
                .map(|seed| Plan::new(*seed, STEPS_A_LAB))
                .collect();
        }
        let labs = self.steps.div_ceil(STEPS_A_LAB);
        let length = |lab: usize| STEPS_A_LAB.min(self.steps - lab * STEPS_A_LAB);
        (0..labs)
            .map(|lab| Plan::new(part(self.seed, lab as u64), length(lab)))
            .collect()
    }
}

/// The long run, by its arguments.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    if let Some(count) = options.crowd {
        return crate::done(crowd::play(count.clamp(1, 1000)));
    }
    let plans = options.plans();
    if options.list {
        for plan in &plans {
            println!("{plan}");
            plan.steps
                .iter()
                .for_each(|step| println!("  {}", report::step(step)));
        }
        return ExitCode::SUCCESS;
    }
    let (began, mut done, mut figures) = (now(), 0, Figures::default());
    println!(
        "seed {}, {} steps in {} labs",
        options.seed,
        plans.iter().map(|plan| plan.steps.len()).sum::<usize>(),
        plans.len()
    );
    for plan in &plans {
        if options
            .limit
            .is_some_and(|limit| now().since(began) > limit)
        {
            println!("the time is over");
            break;
        }
        if let Err(err) = play(plan, &mut figures, done) {
            println!(
                "VIOLATION: {err}\nagain: tests/faults --part {:#x}",
                plan.seed
            );
            return ExitCode::FAILURE;
        }
        done += plan.steps.len();
    }
    println!(
        "{done} steps without a violation in {} s; seed {}",
        now().since(began).as_secs(),
        options.seed
    );
    report::figures(&figures);
    ExitCode::SUCCESS
}

/// One lab from its beginning to its end.
fn play(plan: &Plan, figures: &mut Figures, before: usize) -> Outcome {
    println!("{plan}");
    let mut stage = Stage::set(plan)?;
    let mut trail = report::Trail::new();
    let played = steps(&mut stage, &mut trail, figures, before);
    played.map_err(|err| format!("{err}\n{}", trail.tell(&mut stage)).into())
}

fn steps(
    stage: &mut Stage,
    trail: &mut report::Trail,
    figures: &mut Figures,
    before: usize,
) -> Result<(), Failed> {
    let mut checks = Checks::new(stage.plan.nodes);
    checks.figures = figures.clone();
    let begin = stage::Done {
        act: plan::Act::Heal,
        node: usize::MAX,
        at: now(),
        bound: stage.takeover() + stage::MARGIN,
        reunites: false,
    };
    trail.note("start");
    checks.after(stage, &begin)?;
    for (number, step) in stage.plan.steps.clone().into_iter().enumerate() {
        let number = before + number + 1;
        let done = stage
            .act(step)
            .map_err(|err| format!("step {number} ({}): {err}", report::step(&step)))?;
        let what = format!("step {number}: {} on {}", done.act, world::name(done.node));
        trail.note(&what);
        let came_to = checks
            .after(stage, &done)
            .map_err(|err| format!("{what}: {err}"))?;
        println!("  {what}: {came_to}");
        *figures = checks.figures.clone();
    }
    for member in &mut stage.members {
        member.read_log();
        member.judge_runs()?;
    }
    Ok(())
}
