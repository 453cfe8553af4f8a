//! Two dead of five, the primary and the one that would be next, and it goes on: a view that does not start is given up for
//! the next one.

use crate::script::{Script, puts};

#[test]
fn two_dead_of_five_and_it_goes_on() {
    for replicas in [5, 6] {
        let mut script = Script::replicas(replicas);
        let clients = script.clients(3, &puts(200, 256));
        script.run_ms(50);
        let primary = script.primary();
        let (next, view) = (script.after(primary, 1), script.vsr(primary).view());
        script.kill(next).kill(primary);
        script.until("another serves", 5_000, |script| script.serving().is_some());
        assert!(script.vsr(script.after(primary, 2)).view().0 >= view.0 + 2, "one view did not start");
        script.until_finished(&clients);
        let alive: Vec<u8> = (0..replicas).filter(|replica| script.is_up(*replica)).collect();
        script.converge(&alive);
        script.recover(primary).recover(next).converge_all();
        assert!(script.probe("view_proposed") >= 6);
        script.check();
    }
}
