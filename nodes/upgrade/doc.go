// Package upgrade has a node go on in a new process: after a new binary was installed, on SIGHUP or
// when the program is asked, and through a restart by systemd. The other nodes see a short silence,
// and nothing else: connections, processes, links, monitors and names stay.
//
//	u := &upgrade.Upgrader{Config: cfg}
//	n, err := u.Start(ctx) // fresh, on sockets of systemd, or what another process hands over
//	if err != nil {
//		log.Fatal(err)
//	}
//	fmt.Println("ready", n.Name())
//	if err := u.Run(ctx); err != nil { // until SIGTERM, or until another process is the node
//		log.Fatal(err)
//	}
//
// What goes on is what Config.Setup registers under the same names, and what Config.Handover gives:
// see nodes.Restore. docs/operate/upgrade.md has the units for systemd, and
// docs/explanation/who-owns-a-connection.md the protocol between the two processes.
//
// # An operator's command
//
// With a control socket another process of the same user can ask for an upgrade, and hears how it
// went: cnode-demo upgrade NAME, or a command of the program's own.
//
//	u := &upgrade.Upgrader{Config: cfg, Control: service.ControlPath(cfg.Name)} // the service
//
//	asked, err := service.Ask(ctx, service.ControlPath(name), "") // the command
//	if err != nil {
//		log.Fatal(err) // process 4711 serves on: ...
//	}
//	fmt.Println("upgraded from process", asked.Old, "to", asked.New)
//
// A process that somebody else starts can take the node over by the same socket: Upgrader.TakeOver.
//
// # Parts
//
// An Upgrader is a service.Service (package transport/handoff/service) that has the node as its
// Owner; what it uses to replace a process is there. A node with workers begins by
// workers.StartWith.
//
// # Stability
//
// Upgrader is stable. A program made with one version hands over to one made with the next.
package upgrade
