// Package service has a program of servers go on in a new process: after a new binary was
// installed, on SIGHUP or when the program is asked, and through a restart by systemd. Listeners
// stay all the time. Idle connections of HTTP/1.1 move, requests in progress are answered by the
// old process, and HTTP/2, gRPC and TLS drain.
//
//	s := &service.Service{}
//	l, err := s.Listen("tcp", ":8080") // a new socket, or that of the process before
//	if err != nil {
//		log.Fatal(err)
//	}
//	web.Serve(s, &http.Server{Handler: mux}, l)
//	if err := s.Run(ctx); err != nil { // until SIGTERM, or until another process serves
//		log.Fatal(err)
//	}
//
// Package web, below this one, is for servers of net/http. Any other server serves the listener,
// and gives OnEnd the function that ends it in good order, such as GracefulStop of one of gRPC.
//
// docs/operate/upgrade-a-service.md has units for systemd, and says what happens in containers.
// Package nodes/upgrade does the same for a node.
//
// # An operator's command
//
// With a control socket another process of the same user can ask for an upgrade, and hears how it
// went:
//
//	asked, err := service.Ask(ctx, "/run/shop/control", "")
//	if err != nil {
//		log.Fatal(err) // process 4711 serves on: ...
//	}
//	fmt.Println("upgraded from process", asked.Old, "to", asked.New)
//
// # Parts
//
// A program that hands over more than servers has an Owner, or, if what it hands over has a form of
// its own, uses the parts: a Successor, Coming, and Notify, NotifyReady and NotifyWatchdog, which
// talk to systemd. Package transport/handoff is what passes the descriptors.
//
// # Stability
//
// Service is stable. Owner, Maker and the parts (Successor, Coming, OwnFile) may change in a minor
// version before 1.0, as CHANGELOG.md then says. A program made with one version hands over to one
// made with the next.
package service
