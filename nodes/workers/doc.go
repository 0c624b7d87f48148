// Package workers runs one node in several processes: other nodes see one node, and a crash, a leak
// or a slow handler harms only a part of its peers.
//
// A program begins as the front, which has the name and accepts, and starts the workers, which have
// the connections. A worker is the same program again:
//
//	if workers.IsWorker() {
//		w, err := workers.Join(ctx, cfg) // runs cfg.Setup
//		if err != nil {
//			log.Fatal(err)
//		}
//		err = w.Wait(ctx) // until the front says so, or is gone
//	} else {
//		f, err := workers.Start(ctx, workers.Config{Node: cfg, Workers: 4})
//		...
//	}
//
// [StartWith] starts a front that goes on in a new binary, with its workers. Without an Upgrader,
// [Front.Freeze] and [Restore] move a front, and [Front.UpgradeWorkers] its workers.
//
// docs/operate/workers.md says what differs from a node of one process, and
// docs/explanation/front-and-workers.md how the processes work together.
package workers
