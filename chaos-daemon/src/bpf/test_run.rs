//! Runs a packet program on a packet that never was on a wire (`BPF_PROG_TEST_RUN`): for tests of the kernel side and
//! for measuring what a packet costs.

use std::time::Duration;

use aya::programs::{Program, ProgramError, TestRun, TestRunOptions, TestRunResult};

use super::{BpfError, Feature, Object};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestVerdict {
    /// The program's answer.
    pub answer: i32,
    /// The packet afterwards.
    pub packet: Vec<u8>,
    /// The mean time of one run.
    pub duration: Duration,
}

impl Object {
    /// What each loaded program costs, those for calls once they are caught: its name, the instructions that the verifier
    /// walked (0 before Linux 5.16, which does not tell), and the bytes of machine code.
    pub fn costs(&self) -> Result<Vec<(&'static str, u32, u32)>, BpfError> {
        let names = self.features().flat_map(Feature::programs);
        let mut costs: Vec<_> = names
            .map(|program| {
                let found = self.ebpf.program(program).ok_or(BpfError::Absent(program))?;
                let info = found.info().map_err(|error| BpfError::TestRun { program, error })?;
                Ok((*program, info.verified_instruction_count().unwrap_or(0), info.size_jitted()))
            })
            .collect::<Result<_, BpfError>>()?;
        if let Some(calls) = &self.calls {
            let of_calls = calls.costs();
            let of_calls = of_calls
                .map_err(|error| BpfError::Io { what: "asking what programs cost".to_owned(), error })?;
            costs.extend(of_calls.into_iter().map(|(program, (verified, jited))| (program, verified, jited)));
        }
        Ok(costs)
    }

    /// Counts packets of a cgroup at this depth as the target's, and attaches nothing: for [`Self::test_run`].
    pub fn aim(&mut self, cgroup_id: u64, depth: u32) -> Result<(), BpfError> {
        self.cgroups.insert(cgroup_id, (depth, Vec::new()));
        self.set_target(cgroup_id, true)
    }

    /// Runs `program` `repeat` times on a packet that starts with its Ethernet header, as sent by the calling task over lo.
    pub fn test_run(
        &mut self,
        program: &'static str,
        packet: &[u8],
        repeat: u32,
    ) -> Result<TestVerdict, BpfError> {
        const LO: u32 = 1;
        self.test_run_at(LO, program, packet, repeat)
    }

    /// The same at the device with this number, in the network namespace of the calling thread.
    pub fn test_run_at(
        &mut self,
        device: u32,
        program: &'static str,
        packet: &[u8],
        repeat: u32,
    ) -> Result<TestVerdict, BpfError> {
        // Where the number is in `struct __sk_buff` (`linux/bpf.h`), of which a beginning will do.
        const DEVICE: usize = 40;
        let mut context = [0; DEVICE + 4];
        context[DEVICE..].copy_from_slice(&device.to_ne_bytes());
        let mut out = vec![0; packet.len() + 256];
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        options.data_out = Some(&mut out);
        options.repeat = repeat;
        options.ctx_in = Some(&context);
        let found = self.ebpf.program_mut(program).ok_or(BpfError::Absent(program))?;
        let ran: Result<TestRunResult, ProgramError> = match found {
            Program::SchedClassifier(p) => p.test_run(options),
            Program::CgroupSkb(p) => p.test_run(options),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        let TestRunResult { return_value, duration, data_size_out, .. } =
            ran.map_err(|error| BpfError::TestRun { program, error })?;
        out.truncate(data_size_out as usize);
        Ok(TestVerdict { answer: return_value.cast_signed(), packet: out, duration })
    }
}
