package otp

import "testing"

// Anew makes a node as if it had just been started, so that another test can have it: it has no
// connections, what expressions have registered since the first Anew is killed, and a new process
// evaluates. Modules and persistent terms stay.
func (n *Node) Anew(t testing.TB) {
	t.Helper()
	n.Do(t, `Own = persistent_term:get(own, registered()), persistent_term:put(own, Own), Mine = {group_leader, group_leader()},
		[exit(whereis(P), kill) || P <- registered() -- Own, (catch process_info(whereis(P), group_leader)) =:= Mine],
		[disconnect_node(N) || N <- nodes(connected)]`)
	n.Eval(t, "exit(self(), kill), receive after infinity -> ok end")
	n.Becomes(t, "nodes(connected)", "[]")
}
