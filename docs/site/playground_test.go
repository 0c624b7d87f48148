//go:build unix

package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/browser"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// testPlayground edits a term in the page of the playground, at the sizes and colours that pages
// are read in.
func testPlayground(t *testing.T, b *browser.Browser, open, picture func(string)) {
	edit := func(form, text string) {
		b.Eval(fmt.Sprintf(`{
			const pane = document.querySelector("[data-form=%s]")
			pane.value = %s
			pane.dispatchEvent(new Event("input"))
		}`, form, strconv.Quote(text)))
	}
	shows := func(form, text string) {
		b.Waits(fmt.Sprintf(`document.querySelector("[data-form=%s]").value.includes(%s)`, form, strconv.Quote(text)))
	}
	wrong := func(form, text string) {
		b.Waits(fmt.Sprintf(`document.querySelector("label.%s .wrong")?.textContent.includes(%s)`, form, strconv.Quote(text)))
		require.Equal(t, 1.0, b.Eval(`document.querySelectorAll(".playground .wrong").length`))
	}
	for _, dark := range []bool{false, true} {
		for _, width := range []int{1400, 400} {
			b.Screen(width, dark)
			open("/docs/playground.html")
			b.Waits(`document.querySelector(".playground").dataset.state !== "loading"`)
			require.Equal(t, "ready", b.Eval(`document.querySelector(".playground").dataset.state`))
			shows("erlang", `sku => <<"A1">>`)
			shows("go", "`ei:\"sku\"`")
			picture(fmt.Sprintf("playground-%d-%t", width, dark))

			edit("erlang", "{order,7}")
			shows("elixir", "{:order, 7}")
			shows("bytes", "83 68 02 77 05 6f 72 64 65 72 61 07")
			b.Waits(`[...document.querySelectorAll(".playground tbody tr")].at(-1).textContent.includes("SMALL_INTEGER_EXT")`)
			edit("go", "struct { _ struct{} `ei:\"tuple=order\"`; N float64 }")
			shows("erlang", "{order,7.0}")
			edit("json", `{"a": null}`)
			shows("erlang", `#{<<"a">> => null}`)
			edit("bytes", "83 61 09")
			shows("json", "9")

			edit("elixir", "%{a: ")
			wrong("elixir", "line 1, column")
			shows("json", "9")
			edit("bytes", "83 68 02 61 01")
			wrong("bytes", "")
			b.Waits(`document.querySelectorAll(".playground tbody tr").length === 3`)
			edit("go", "Order")
			wrong("go", "not known here")
			edit("erlang", "[]")
			b.Waits(`!document.querySelector(".playground .wrong")`)

			loaded := `performance.getEntriesByType("resource").some(r => r.name.endsWith("nodes.wasm"))`
			require.Equal(t, false, b.Eval(loaded), "before anybody wants it")
			b.Eval(`{
				const input = document.querySelector(".nodes input")
				input.value = "{hello,2}"
				input.dispatchEvent(new Event("input"))
			}`)
			b.Waits(`document.querySelector(".nodes input").value === "{hello,2}"`)
			fails := func(times int) { // the next fetches
				b.Eval(fmt.Sprintf(`{
					const real = fetch
					let left = %d
					globalThis.fetch = (...what) => left-- > 0 ? Promise.reject(new TypeError("no network")) : real(...what)
				}`, times))
			}
			fails(2)
			b.Eval(`document.querySelector(".nodes button").click()`)
			b.Waits(`document.querySelector(".nodes .wrong")?.textContent.includes("no network")`)
			fails(1) // which nobody notices
			b.Eval(`document.querySelector(".nodes button").click()`)
			b.Waits(`document.querySelector(".nodes").dataset.state === "ended"`)
			require.Equal(t, true, b.Eval(loaded))
			require.Empty(t, b.Eval(`document.querySelector(".nodes .wrong")?.textContent ?? ""`))
			require.Equal(t, []any{"alice@tab", "bob@tab"}, b.Eval(`[...document.querySelectorAll(".nodes .name")].map(e => e.textContent)`))
			drawn := b.Eval(`[...document.querySelectorAll(".nodes .event")].map(e => e.querySelector("title").textContent).join("\n")`)
			for _, want := range []string{"the call returns {ok,{hello,2}}", "LINK from", "EXIT with the reason stop", "MONITOR_P from"} {
				require.Contains(t, drawn, want)
			}
			b.Eval(`document.querySelector(".nodes .event.message").dispatchEvent(new Event("click"))`)
			b.Waits(`document.querySelector(".nodes .chosen")`)
			b.Eval(`document.querySelector(".nodes").scrollIntoView()`)
			picture(fmt.Sprintf("playground-nodes-%d-%t", width, dark))

			choose := func(capture []byte) {
				b.Eval(fmt.Sprintf(`{
					const files = new DataTransfer()
					files.items.add(new File([Uint8Array.from(atob("%s"), c => c.charCodeAt(0))], "x.pcap"))
					const input = document.querySelector(".capture input")
					input.files = files.files
					input.dispatchEvent(new Event("change"))
				}`, base64.StdEncoding.EncodeToString(capture)))
			}
			choose([]byte("no capture at all, but a text"))
			b.Waits(`document.querySelector(".capture .wrong")?.textContent.includes("not a pcap file")`)
			choose(captured(t))
			b.Waits(`document.querySelectorAll(".capture .event.handshake").length === 5`)
			require.Equal(t, "", b.Eval(`document.querySelector(".capture .wrong")?.textContent ?? ""`))
			require.Equal(t, []any{"a@x", "b@x"}, b.Eval(`[...document.querySelectorAll(".capture .name")].map(e => e.textContent)`))

			require.Empty(t, b.Eval(tooWide))
			require.LessOrEqual(t, b.Eval("document.documentElement.scrollWidth"), float64(width))
		}
	}
}

// captured is a capture of two nodes that connect.
func captured(t *testing.T) []byte {
	var b bytes.Buffer
	file := virtual.NewCapture(&b)
	memory := transport.NewMemory()
	where := nodes.Static{"a@x": {Addr: transport.MemoryAddr("a")}, "b@x": {Addr: transport.MemoryAddr("b")}}
	start := func(name string, tr transport.Transport) *nodes.Node {
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "c", Transport: tr, Listen: where[name].Addr, Resolver: where})
		require.NoError(t, err)
		require.NoError(t, n.Start(t.Context()))
		return n
	}
	to := start("b@x", memory)
	defer to.Close()
	from := start("a@x", virtual.Trace(memory, virtual.TraceOptions{Capture: file}))
	_, err := from.Connect(t.Context(), "b@x")
	require.NoError(t, err)
	require.NoError(t, from.Close())
	require.NoError(t, file.Close())
	return b.Bytes()
}
