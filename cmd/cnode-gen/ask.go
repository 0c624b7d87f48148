package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/cmd/cnode-gen/internal/source"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// An asker asks a node for its modules, by functions that every BEAM has.
type asker struct {
	ctx  context.Context
	conn interface {
		RPC(ctx context.Context, module, function string, args ...any) (ei.Term, error)
	}
	node string
}

// loads tells whether the node has a module.
func (a *asker) loads(name ei.Atom) (bool, error) {
	loaded, err := a.conn.RPC(a.ctx, "code", "ensure_loaded", name)
	if raised := new(nodes.RPCError); errors.As(err, &raised) {
		return false, fmt.Errorf("%s is no BEAM, whose modules can be asked for: %w", a.node, err)
	}
	pair, ok := loaded.(ei.Tuple)
	return ok && len(pair) == 2 && pair[0] == ei.Atom("module"), err
}

// lacks is the error for a module that the node does not have. A Go node answers for modules, too,
// of which it has none that each BEAM has.
func (a *asker) lacks(name ei.Atom) error {
	err := error(&source.UnknownModuleError{Module: name, Node: a.node})
	if isBEAM, failed := a.loads("lists"); failed != nil {
		return failed
	} else if !isBEAM {
		return fmt.Errorf("%s is no BEAM, whose modules can be asked for: %w", a.node, err)
	}
	if source.IsAlias(name) && name != elixir {
		if has, failed := a.loads(elixir); failed == nil && !has {
			return fmt.Errorf("%w: it runs no Elixir", err)
		}
	}
	return err
}

// module is a source.Lookup.
func (a *asker) module(name ei.Atom) (*source.Module, error) {
	switch loads, err := a.loads(name); {
	case err != nil:
		return nil, err
	case !loads:
		return nil, a.lacks(name)
	}
	m := &source.Module{Name: name}
	has, err := a.conn.RPC(a.ctx, "erlang", "function_exported", name, ei.Atom("__struct__"), 0)
	if err == nil && has == ei.Atom("true") {
		var t ei.Term
		t, err = a.conn.RPC(a.ctx, string(name), "__struct__")
		m.Struct, _ = t.(ei.Map)
	}
	if err == nil {
		m.Forms, err = a.forms(name)
	}
	return m, err
}

const elixir = ei.Atom("Elixir.Kernel")

// forms asks for the abstract code of a module, without which its types are not known: it is in the
// file of the module, unless a release was stripped, or the module was compiled into memory.
func (a *asker) forms(name ei.Atom) (ei.List, error) {
	object, err := a.conn.RPC(a.ctx, "code", "get_object_code", name)
	found, ok := object.(ei.Tuple) // {Module, Binary, File}, or error
	if err != nil || !ok || len(found) != 3 {
		return nil, err
	}
	chunks, err := a.conn.RPC(a.ctx, "beam_lib", "chunks", found[1], ei.List{ei.Atom("debug_info")})
	if err != nil {
		return nil, err
	}
	// {ok, {Module, [{debug_info, {debug_info_v1, Backend, Data}}]}}
	data := element(element(element(element(chunks, 1), 1), 0), 1)
	data = element(data, 2)
	if element(data, 0) == ei.Atom("elixir_v1") { // of Elixir: {elixir_v1, Map, Specs}
		data = ei.Tuple{element(data, 2)}
	}
	forms, _ := ei.Elements(element(data, 0)) // of Erlang: {Forms, Options}
	return slices.Clip(forms), nil
}

// element is that of a tuple, or a list, at i; nil if there is none.
func element(t ei.Term, i int) ei.Term {
	list, _ := t.(ei.Tuple)
	if all, ok := ei.Elements(t); ok {
		list = ei.Tuple(all)
	}
	if i < len(list) {
		return list[i]
	}
	return nil
}
