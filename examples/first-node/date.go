package main

import "github.com/cnode-go/cnode/ei"

// A Date is Elixir's, as ~D[2026-01-01].
type Date struct {
	_                struct{} `ei:"struct=Elixir.Date"`
	Calendar         ei.Atom
	Year, Month, Day int
}
