//! The real programs, armed, with packets of our own.

use chaos_daemon::bpf::{Feature, Object};
use kchaos_tests::programs::{Programs, ROOT};

pub const EGRESS: &str = "kchaos_egress";
const INGRESS: &str = "kchaos_ingress";

/// `TC_ACT_REDIRECT`, to a device that does not exist.
pub const LOST: i32 = 7;
/// `TC_ACT_UNSPEC`: no opinion.
const NEXT: i32 = -1;

/// The programs, armed for the whole host: this test is part of it.
pub struct Bench(Programs);

impl Bench {
    pub fn new(faults: &str) -> Self {
        Self::armed("inject", faults)
    }

    pub fn in_shadow(faults: &str) -> Self {
        Self::armed("shadow", faults)
    }

    /// The same programs, armed anew for other times.
    pub fn start(&mut self, start_ns: u64, lease_ns: u64) {
        let Programs { object, tables } = &mut self.0;
        object.arm(tables, start_ns, lease_ns).unwrap();
    }

    fn armed(mode: &str, faults: &str) -> Self {
        let needs = [Feature::TcEgress.any_way(), Feature::CgroupIngress.in_full()];
        Self(Programs::armed(mode, faults, &needs, 1, ROOT))
    }

    pub fn object(&mut self) -> &mut Object {
        &mut self.0.object
    }

    /// Whether the packet is lost on its way out; if not, it must be unchanged.
    pub fn lost_on_egress(&mut self, packet: &[u8]) -> bool {
        let verdict = self.0.object.test_run(EGRESS, packet, 1).unwrap();
        match verdict.answer {
            LOST => true,
            NEXT => {
                assert_eq!(packet, verdict.packet, "a packet that was not hit is damaged");
                false
            }
            other => panic!("answer {other}"),
        }
    }

    /// The same on its way in.
    pub fn lost_on_ingress(&mut self, packet: &[u8]) -> bool {
        let verdict = self.0.object.test_run(INGRESS, packet, 1).unwrap();
        match verdict.answer {
            0 => true,
            1 => {
                // The kernel runs these programs without a link-layer header and hands zeros back for it.
                const ETHERNET: usize = 14;
                assert_eq!(
                    packet[ETHERNET..],
                    verdict.packet[ETHERNET..],
                    "a packet that was not hit is damaged"
                );
                false
            }
            other => panic!("answer {other}"),
        }
    }

    pub fn matched(&self) -> u64 {
        self.0.object.counters(1).unwrap()[0].matched
    }
}
