// Package console gives the people who run a cluster a console on a node of Go, by the tools that
// they have: erl -remsh, iex --remsh, and the remote command of a release.
//
//	err := console.Serve(n, &console.Options{Commands: []console.Command{ // in nodes.Config.Setup
//		{Name: "quote", Args: "SKU QUANTITY", Help: "the price of an order", Func: shop.Quote},
//	}})
//
//	$ erl -name ops@host -hidden -remsh shop@host
//	shop@host> quote "A-100" 3
//
// Some commands look at the node, or change how it runs (help lists them); those of the program are
// Go functions. Arguments and results are terms, in the syntax of whoever types, Erlang's or
// Elixir's. Tab completes, ^G i interrupts, and a session ends with its terminal. Nothing runs
// while nobody uses it. nodes.Config.Rules say who may: see Rules. Without rules every node that
// knows the cookie may, all commands. docs/operate/console.md has all of it.
//
// # Stability
//
// The commands, and what they print, are for people, and change as is useful to them. Serve,
// Options and Command may change before 1.0; CHANGELOG.md says so then.
package console
