//! Components that are no components, or lie, or keep the compiler busy: each is refused or ends
//! within its budget.

use std::path::Path;
use std::time::Duration;

use carpd::effect::Reply;
use carpd::hooks::{Answer, Ask, EntryPoint, HookError, LoadError};
use carpd::keeper::Client;

use crate::fuzz::Numbers;
use crate::hooks::{DAEMON, Script, block_on, event, yes};
use crate::wasm::{
    ALL, FIXTURE, LIMIT, compile, compile_within, grants, load, message, source, told,
};

fn refused(result: Result<Vec<u8>, LoadError>) -> String {
    match result {
        Err(LoadError::Code(why)) => why,
        other => panic!("{:?}", other.map(|code| code.len())),
    }
}

#[test]
fn what_is_no_component_or_too_large_is_refused_at_once() {
    block_on(async {
        let (keeper, _exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
        assert!(refused(compile(&keeper, b"").await).contains("not a WebAssembly component"));
        assert!(
            refused(compile(&keeper, b"(component)").await).contains("not a WebAssembly component")
        );
        assert!(refused(compile(&keeper, b"\0asm\x01\0\0\0").await).contains("core module"));
        assert!(
            refused(compile(&keeper, &vec![0; 64 << 20]).await)
                .contains("not a WebAssembly component")
        );
        let mut large = FIXTURE.to_vec();
        for megabytes in [9, 64] {
            large.resize(megabytes << 20, 0);
            assert!(refused(compile(&keeper, &large).await).contains("larger than"));
        }
    });
}

/// Cut anywhere, it is refused; with bits turned it is code or refused, and what was compiled loads
/// or is refused: never anything else.
#[test]
fn cut_and_flipped_components_are_code_or_refused() {
    block_on(async {
        let (keeper, _exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
        let mut numbers = Numbers(20);
        let lengths =
            (0..12)
                .map(|_| 9 + numbers.next(FIXTURE.len() - 9))
                .chain([8, 9, FIXTURE.len() - 1]);
        for length in lengths.collect::<Vec<_>>() {
            let result = compile(&keeper, &FIXTURE[..length]).await;
            // Behind the last section that means something is only the names of functions.
            let whole = length == 8 || length > FIXTURE.len() * 3 / 4;
            assert!(
                matches!(result, Err(LoadError::Code(_))) || (whole && result.is_ok()),
                "{length}"
            );
        }
        for round in 0..40 {
            let mut flipped = FIXTURE.to_vec();
            for _ in 0..=round % 4 {
                let at = 8 + numbers.next(FIXTURE.len() - 8);
                flipped[at] ^= 1 << numbers.next(8);
            }
            let result = compile(&keeper, &flipped).await;
            assert!(
                matches!(result, Ok(_) | Err(LoadError::Code(_))),
                "{round}: {result:?}"
            );
        }
    });
}

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        bytes.push(if number == 0 { byte } else { byte | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// A section: its number, its length, its content.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], leb(content.len()), content.to_vec()].concat()
}

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A component with nothing but imports of empty interfaces.
fn importing(names: impl Iterator<Item = String>) -> Vec<u8> {
    let names: Vec<_> = names.collect();
    let mut imports = leb(names.len());
    for name in &names {
        imports.extend(
            [
                vec![0],
                leb(name.len()),
                name.clone().into_bytes(),
                vec![5, 0],
            ]
            .concat(),
        );
    }
    [
        COMPONENT.to_vec(),
        section(7, &[1, 0x42, 0]),
        section(10, &imports),
    ]
    .concat()
}

#[test]
fn three_hundred_imports_are_refused_in_a_few_words() {
    block_on(async {
        let component: &'static [u8] =
            importing((0..300).map(|n| format!("evil:host/door{n}@1.0.0"))).leak();
        let result = load(source("{}"), component, &grants(ALL), LIMIT).await;
        let Err(LoadError::Code(why)) = result.map(drop) else {
            panic!("it was loaded")
        };
        assert!(
            why.contains("evil:host/door0") && why.contains("and 292 more"),
            "{why}"
        );
        assert!(why.len() < 2000, "{}", why.len());
        // Of the right package, but there is nothing in them and no entry point.
        let component: &'static [u8] =
            importing((0..300).map(|n| format!("carpd:hooks/door{n}@1.0.0"))).leak();
        let result = load(source("{}"), component, &grants(ALL), LIMIT).await;
        assert!(matches!(
            result.map(drop),
            Err(LoadError::NoEntryPoint { .. })
        ));
    });
}

/// 7 MiB of arithmetic, which keeps cranelift busy for long.
fn laborious() -> Vec<u8> {
    let mut body = vec![0];
    // local.get 0, local.get 0, i64.mul, i64.add: the value lives on.
    body.extend(
        [0x20, 0]
            .iter()
            .chain([0x20, 0, 0x7e, 0x20, 0, 0x7c].iter().cycle().take(60_000)),
    );
    body.push(0x0b);
    let function = [leb(body.len()), body].concat();
    let count = (7 << 20) / function.len();
    let core = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 1, 0x7e, 1, 0x7e]),
        section(3, &[leb(count), vec![0; count]].concat()),
        section(10, &[leb(count), function.repeat(count)].concat()),
    ];
    [COMPONENT.to_vec(), section(1, &core.concat())].concat()
}

#[test]
fn a_component_that_takes_long_to_compile_ends_at_the_limit() {
    block_on(async {
        let (keeper, mut exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
        let component = laborious();
        assert!(component.len() > 6 << 20);
        let began = tokio::time::Instant::now();
        let why = refused(compile_within(&keeper, &component, Duration::from_millis(500)).await);
        assert_eq!(why, "compiling it took longer than 500ms");
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        assert!(exits.next().await.is_some(), "and the compiler is gone");
    });
}

/// A compiler that dies of what it compiles is not silent about it.
#[test]
fn a_compiler_that_is_killed_says_how_it_ended() {
    block_on(async {
        let (keeper, _exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
        let (id, stream, end) = keeper
            .spawn_watched(carpd::keeper::Role::Compiler)
            .await
            .unwrap();
        let component = laborious();
        let ended = async { end.await.unwrap().to_string() };
        let policy = carpd::hooks::process::session::SandboxPolicy::Required;
        keeper.kill(id);
        let result = carpd::hooks::process::compiler::compile_by(
            stream,
            &component,
            policy,
            Duration::from_secs(20),
            ended,
        )
        .await;
        assert_eq!(
            result,
            Err(LoadError::Compiler(
                "killed by SIGKILL, as at the end of its CPU time".to_owned()
            ))
        );
    });
}

#[test]
fn what_lies_about_its_memory_ends_its_own_run_alone() {
    for how in [
        "forged text",
        "forged length",
        "forged list",
        "forged alignment",
        "forged result",
    ] {
        let (result, asked, _) = told(how);
        assert!(
            matches!(result, Err(HookError::Raised { .. })),
            "{how}: {result:?}"
        );
        assert!(
            asked.iter().all(|ask| matches!(ask, Ask::Sleep { .. })),
            "{how}: {asked:?}"
        );
    }
}

/// The largest request and the largest answer pass.
#[test]
fn a_body_of_the_full_size_goes_through_both_ways() {
    block_on(async {
        let (_keeper, mut session) =
            load(source(r#"{"do":"large"}"#), &FIXTURE, &grants(ALL), LIMIT)
                .await
                .unwrap();
        let mut desk = Script::new(|ask: &Ask| match ask {
            Ask::Effect {
                effect: carpd::effect::Effect::HttpSend(request),
                ..
            } => {
                let (body, headers) = (request.body.repeat(4), Vec::new());
                Answer::Reply(Reply::Http(carpd::effect::HttpResponse {
                    status: 200,
                    headers,
                    body,
                }))
            }
            other => yes(other),
        });
        let result = session
            .call(
                event(EntryPoint::OnMaster),
                LIMIT,
                &mut desk,
                std::future::pending(),
            )
            .await;
        assert_eq!(
            message(&result),
            "fixture.wasm: on_master: 262144 bytes of status 200"
        );
    });
}

/// A component whose `on_master` is these instructions, over 15 MiB of memory and a table.
fn made_of(instructions: &[u8]) -> Vec<u8> {
    let text = |text: &str| [leb(text.len()), text.as_bytes().to_vec()].concat();
    let code = |body: &[u8]| [leb(body.len() + 2), vec![0], body.to_vec(), vec![0x0b]].concat();
    let core = [
        b"\0asm\x01\0\0\0".to_vec(),
        // (i32) -> i32 and (i32, i32, i32, i32) -> i32.
        section(
            1,
            &[
                2, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f,
            ],
        ),
        section(3, &[2, 0, 1]),
        section(4, &[1, 0x70, 0, 1]),
        section(5, &[vec![1, 0], leb(240)].concat()),
        section(
            7,
            &[
                vec![3],
                [text("memory"), vec![2, 0]].concat(),
                [text("carpd:hooks/on-master@1.0.0#on-master"), vec![0, 0]].concat(),
                [text("cabi_realloc"), vec![0, 1]].concat(),
            ]
            .concat(),
        ),
        // What is allocated all lies at one place: nobody looks at it.
        section(
            10,
            &[vec![2], code(instructions), code(&[0x41, 0x80, 0x80, 0x04])].concat(),
        ),
    ];
    carpd::hooks::artifact::manifest::build(&core.concat(), None).unwrap()
}

/// loop { instructions; br 0 }, unreachable
fn forever(instructions: &[u8]) -> Vec<u8> {
    [&[0x03, 0x40], instructions, &[0x0c, 0, 0x0b, 0]].concat()
}

/// Instructions that do much at once are measured by the time that they take, as all others are.
#[test]
fn bulk_instructions_get_the_time_of_the_budget() {
    let i32_const = |number: usize| [vec![0x41], leb(number)].concat();
    let fill = [
        i32_const(0),
        i32_const(0),
        i32_const(15 << 20),
        vec![0xfc, 11, 0],
    ]
    .concat();
    let copy = [
        i32_const(0),
        i32_const(1),
        i32_const((15 << 20) - 1),
        vec![0xfc, 10, 0, 0],
    ]
    .concat();
    // ref.null func; 2^31-1 elements; table.grow; drop
    let grow = [vec![
        0xd0, 0x70, 0x41, 0xff, 0xff, 0xff, 0xff, 0x07, 0xfc, 15, 0, 0x1a,
    ]]
    .concat();
    for (name, instructions) in [
        ("memory.fill", fill),
        ("memory.copy", copy),
        ("table.grow", grow),
    ] {
        block_on(async {
            let component: &'static [u8] = made_of(&forever(&instructions)).leak();
            let (_keeper, mut session) = load(source("{}"), component, &grants(ALL), LIMIT)
                .await
                .unwrap();
            let mut desk = Script::new(yes);
            let began = tokio::time::Instant::now();
            let result = session
                .call(
                    event(EntryPoint::OnMaster),
                    LIMIT,
                    &mut desk,
                    std::future::pending(),
                )
                .await;
            let took = began.elapsed();
            assert!(
                matches!(result, Err(HookError::TimedOut(_))),
                "{name}: {result:?}"
            );
            assert!(
                took >= LIMIT.cpu,
                "{name} was ended after {took:?} of {:?}",
                LIMIT.cpu
            );
            assert!(took < Duration::from_millis(1500), "{name}: {took:?}");
        });
    }
}

/// Jumps to 7 million places in all, for which cranelift wants more memory than it gets.
#[test]
fn a_component_that_takes_much_memory_to_compile_meets_the_limit() {
    // Again and again block, local.get 0, br_table to 0 or 0 or ..., end; at last i32.const 0.
    let targets = 65_519;
    let jumps = [
        vec![0x02, 0x40, 0x20, 0, 0x0e],
        leb(targets),
        vec![0; targets + 1],
        vec![0x0b],
    ]
    .concat();
    let body = [jumps.repeat(106), vec![0x41, 0]].concat();
    let component = made_of(&body);
    assert!(component.len() > 6 << 20 && component.len() < 8 << 20);
    block_on(async {
        let (keeper, mut exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
        let (_, stream, end) = keeper
            .spawn_watched(carpd::keeper::Role::Compiler)
            .await
            .unwrap();
        let ended = async { end.await.unwrap().to_string() };
        let policy = carpd::hooks::process::session::SandboxPolicy::Required;
        let patience = carpd::hooks::process::compiler::PATIENCE;
        let result = carpd::hooks::process::compiler::compile_by(
            stream, &component, policy, patience, ended,
        )
        .await;
        let why = result.map(|code| code.len()).unwrap_err().to_string();
        assert!(why.contains("512 MiB of memory are not enough"), "{why}");
        assert!(exits.next().await.is_some(), "and the compiler is gone");
    });
}
