// Package console gives the people who run a cluster a console on a node of Go, by the tools that
// they have: erl -remsh, iex --remsh, and the remote command of a release.
//
//	err := console.Start(n, &console.Options{ // in nodes.Config.Setup
//		Commands: []console.Command{
//			{Name: "quote", Args: "SKU QUANTITY", Help: "the price of an order", Func: shop.Quote},
//		},
//	})
//
//	$ erl -name ops@host -hidden -remsh shop@host
//	shop@host> connections
//	shop@host> quote "A-100" 3
//
// There are commands that look at the node and change how it runs (help lists them), and those of
// the program: Go functions, whose arguments are terms in the syntax of whoever types, Erlang's or
// Elixir's, read as nodes.FuncOf says. Results are shown in that syntax. Tab completes, ^G i
// interrupts, and a session ends with its terminal. docs/console.md shows it all.
//
// Nothing runs while nobody uses it. Who may is for nodes.Config.Rules to say; a table that allows
// little has to allow the functions by which shells begin, for which Rules has the rules. A command
// is a function of module console there: console:drain/0.
package console
