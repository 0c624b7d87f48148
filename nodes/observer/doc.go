// Package observer lets the tools of Erlang and Elixir look at a node of Go as they look at any:
// Observer, etop, c:ni/0 and c:nregs/0, IEx's i/1, Phoenix LiveDashboard, and scripts that ask
// erlang:memory/0, erlang:statistics/1 or application:which_applications/0.
//
//	err := observer.Serve(n, nil) // in nodes.Config.Setup
//
// What they see are Go's own figures, from package runtime/metrics, and the node's processes, from
// nodes.Node.Processes; docs/operate/observer.md says what stands where. Nobody stops for it: one
// hundred thousand processes are listed while messages go on.
//
// What a BEAM has and Go has not is answered as a BEAM does that has none of it: tables and ports
// are empty lists, unknown items badarg, other functions undef. Code that others want to load is
// refused ({error, badfile}). Nothing can be changed, except that peers may do what they may do
// anyway (nodes.Config.Rules): send, link, exit/2. Options.Stop lets them stop the node.
//
// The functions belong to modules of Erlang: a table of rules that allows little has to allow
// these, for which Rules has the rules. A program's own function of one of the names is to be
// exposed after Serve. In a node with workers (workers.Front) call Serve in each: a tool sees the
// worker that its node is connected to.
//
// # Stability
//
// What is answered follows the tools, of OTP 25 to 29, and grows with them; what Go's runtime calls
// its figures may change with Go. Serve, Options and Rules may change before 1.0; CHANGELOG.md says
// so then.
package observer
