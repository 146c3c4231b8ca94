//! `device_query`: what there is to compute with.

use std::fs;

use serde_json::json;

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    ui::Ui,
};
use crate::{error::Result, kernels::gemm, memory, number::general, threads};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "device_query",
    about: "tell what there is to compute with: processor, instruction sets, threads, memory",
    flags: &[Flag::switch("json", "Print one JSON object instead")],
    examples: "  cortado device_query\n  cortado device_query --json",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let processor = processor();
    let hardware = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let sets = sets();
    let (used, count) = (gemm::instruction_set(), threads::count());
    let peak = gemm::peak() / 1e9;
    let (limit, available) = (memory::limit(), memory::available());
    if args.switch("json") {
        let object = json!({
            "processor": processor, "architecture": std::env::consts::ARCH,
            "hardware_threads": hardware, "cores": threads::available(), "threads": count,
            "instruction_sets": sets, "kernels": used, "peak_gflops": peak,
            "memory_bytes": limit, "available_bytes": available,
        });
        ui.print(&format!("{object:#}\n"))?;
        return Ok(Status::Done);
    }
    let size = |bytes: Option<u64>| match bytes {
        Some(bytes) => format!("{} GiB", general(bytes as f64 / f64::from(1 << 30), 3)),
        None => "unknown".to_owned(),
    };
    let lines = [
        (
            "processor",
            processor.unwrap_or_else(|| "unknown".to_owned()),
        ),
        ("architecture", std::env::consts::ARCH.to_owned()),
        (
            "cores",
            format!("{} ({hardware} hardware threads)", threads::available()),
        ),
        ("threads used", count.to_string()),
        ("instruction sets", sets.join(" ")),
        ("kernels use", used.to_owned()),
        (
            "peak",
            format!("{} GFLOP/s, measured now", general(peak, 3)),
        ),
        (
            "memory",
            format!("{}, {} of it available", size(limit), size(available)),
        ),
        ("GPU", "none is used: everything runs on the CPU".to_owned()),
    ];
    let text: String = lines
        .iter()
        .map(|(what, is)| format!("{what:<18}{is}\n"))
        .collect();
    ui.print(&text)?;
    Ok(Status::Done)
}

/// The processor's name, where the system tells it.
fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let row = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
        })
    };
    row("model name")
        .or_else(|| row("Model"))
        .or_else(|| row("Hardware"))
}

/// The instruction sets of this processor that matter to arithmetic.
fn sets() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let all = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("f16c", std::is_x86_feature_detected!("f16c")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("avxvnni", std::is_x86_feature_detected!("avxvnni")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
        ("avx512vl", std::is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(target_arch = "aarch64")]
    let all = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        (
            "dotprod",
            std::arch::is_aarch64_feature_detected!("dotprod"),
        ),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let all: [(&str, bool); 0] = [];
    let there = all.into_iter().filter(|(_, there)| *there);
    there.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gemm;

    #[test]
    fn what_kernels_use_is_there() {
        let sets = sets();
        match gemm::instruction_set() {
            "avx512" => assert!(sets.contains(&"avx512f")),
            "portable" => {}
            used => assert!(sets.contains(&used), "{used} of {sets:?}"),
        }
    }
}
