package main

// An Order is %Shop.Order{}.
type Order struct {
	_   struct{} `ei:"struct=Elixir.Shop.Order"`
	SKU string
	Qty int
}

// A Quote is %Shop.Quote{}.
type Quote struct {
	_     struct{} `ei:"struct=Elixir.Shop.Quote"`
	SKU   string
	Total float64
}
