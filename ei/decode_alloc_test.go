package ei_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// allocated gives the number of bytes that f allocates, garbage included.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// TestAllocationIsBounded decodes terms that take the most memory for their size, and malformed
// ones, and checks the bound that Limits documents.
func TestAllocationIsBounded(t *testing.T) {
	const fixed = 16 << 10 // tables that grow with the term, but start at some size
	head := func(tag string, n int) string { return tag + string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
	each := func(n int, elem func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(elem(i))
		}
		return b.String()
	}
	list := func(elem string, n int) string { return head("l", n) + strings.Repeat(elem, n) + "j" }
	atoms := func(tag string, n int) string {
		return head("l", n) + each(n, func(i int) string { return tag + "\x04" + fmt.Sprintf("%04x", i) }) + "j"
	}
	mapOf := func(n int, key func(i int) string) string {
		return head("t", n) + each(n, func(i int) string { return key(i) + "j" })
	}
	integer := func(i int) string { return string(ei.AppendInt(nil, int64(i))) }
	const minusZero = "F\x80\x00\x00\x00\x00\x00\x00\x00"
	hostile := map[string]string{
		"empty lists":            list("j", 30_000),
		"empty tuples":           list("h\x00", 30_000),
		"tuples of one":          list("h\x01j", 30_000),
		"tuples in tuples":       strings.Repeat("h\x01", 9_999) + "j",
		"lists of one":           list("l\x00\x00\x00\x01jj", 10_000),
		"lists piece by piece":   strings.Repeat("l\x00\x00\x00\x01j", 30_000) + "j",
		"no lists at all":        strings.Repeat("l\x00\x00\x00\x00", 30_000) + "j",
		"list ended by a string": "l\x00\x00\x00\x01jk\xff\xff" + strings.Repeat("x", 65535),
		"improper lists":         list("l\x00\x00\x00\x01ja\x00", 10_000),
		"maps of one":            list("t\x00\x00\x00\x01jj", 10_000),
		"a large map":            mapOf(30_000, integer),
		"a large map of tuples":  mapOf(10_000, func(i int) string { return "h\x01" + integer(i) }),
		"keys within keys": strings.Repeat("t\x00\x00\x00\x02", 15) + list("t\x00\x00\x00\x01jj", 10_000) +
			strings.Repeat("ja\x01j", 15),
		"a tuple sixteen keys deep": strings.Repeat("t\x00\x00\x00\x01", 16) + "i\x00\x00\x75\x30" + strings.Repeat("j", 30_000) +
			strings.Repeat("j", 16),
		"the same with -0.0": strings.Repeat("t\x00\x00\x00\x01", 16) + "i\x00\x00\x75\x31" + strings.Repeat("j", 30_000) + minusZero +
			strings.Repeat("j", 16),
		"tuples with -0.0 as keys": mapOf(10_000, func(i int) string { return "h\x02" + integer(i) + minusZero }),
		"maps with -0.0 as keys": mapOf(10_000, func(i int) string {
			return "t\x00\x00\x00\x01" + integer(i) + minusZero
		}),
		"records as keys": mapOf(5_000, func(i int) string {
			return "C\x00\x00\x00\x01\x00w\x00w\x00w\x00" + integer(i)
		}),
		"closures as keys": mapOf(3_000, func(i int) string {
			f := appended(t, ei.Fun{Index: uint32(i), Pid: ei.Pid{Node: "a@b"}})
			return string(f)
		}),
		"long references as keys": mapOf(5_000, func(i int) string {
			return "Z\x00\x05w\x00\x00\x00\x00\x01" + string(binary.BigEndian.AppendUint32(nil, uint32(i))) + strings.Repeat("\x00", 16)
		}),
		"a map deep within a key": list("t\x00\x00\x00\x01"+strings.Repeat("h\x01", 9_000)+"t\x00\x00\x00\x00j", 5),
		"the same, with -0.0":     list("t\x00\x00\x00\x01"+strings.Repeat("h\x01", 9_000)+"t\x00\x00\x00\x01"+minusZero+"jj", 5),
		"-0.0 deep within a key":  list("t\x00\x00\x00\x01"+strings.Repeat("h\x01", 9_000)+minusZero+"j", 5),
		"small binaries":          list("m\x00\x00\x00\x01x", 10_000),
		"binaries of 64":          list("m\x00\x00\x00\x40"+strings.Repeat("x", 64), 1000),
		"small bitstrings":        list("M\x00\x00\x00\x01\x01x", 10_000),
		"small strings":           list("k\x00\x01x", 10_000),
		"atoms":                   atoms("w", 10_000),
		"short atoms": head("l", 16_000) + each(16_000, func(i int) string {
			return "w\x02" + string([]byte{byte(i / 128), byte(i % 128)})
		}) + "j",
		"lists of two":             list("l\x00\x00\x00\x02jjj", 10_000),
		"tuples of two integers":   list("h\x02b\x00\x01\x00\x00j", 10_000),
		"tuples that hold a list":  list("h\x03jjl\x00\x00\x00\x01jj", 5_000),
		"floats":                   list("F\x00\x00\x00\x00\x00\x00\x00\x00", 10_000),
		"Latin-1 atoms":            atoms("s", 10_000),
		"the same atom":            list("w\x03foo", 10_000),
		"integers":                 list("b\x00\x01\x00\x00", 10_000),
		"large integers":           list("n\x08\x00\xff\xff\xff\xff\xff\xff\xff\xff", 10_000),
		"records without fields":   list("C\x00\x00\x00\x00\x00w\x00w\x00", 5_000),
		"record with equal fields": "C\x00\x00\x75\x30\x00w\x00w\x00" + strings.Repeat("w\x00", 30_000) + strings.Repeat("j", 30_000),
		"pids":                     list("Xw\x00"+strings.Repeat("\x00", 12), 5_000),
		"old references":           list("ew\x00\x00\x00\x00\x00\x00", 5_000),
		"external funs":            list("qw\x00w\x00a\x00", 5_000),
		"closures":                 string(nestedFuns(3000)),
		"a tuple cut short":        "i\x00\x00\xff\xff" + strings.Repeat("j", 65534),
		"a bad end":                list("h\x01j", 30_000)[:90_000] + "\xff\xff\xff",
	}
	for _, nesting := range nestings {
		hostile["deep: "+nesting.name] = string(nest(nesting.open, "j", nesting.close, 20_000))
	}
	for name, data := range hostile {
		input := append([]byte{ei.VersionMagic}, data...)
		used := allocated(func() { _, _ = ei.Decode(input) })
		require.LessOrEqual(t, used, fixed+48*len(input), name)
		strictly := allocated(func() { _, _ = ei.DecodeOptions{Strict: true}.Decode(ei.Raw(input[1:])) })
		t.Logf("%-26s %6d bytes: %5.1f for each, %5.1f with Strict", name, len(input), float64(used)/float64(len(input)),
			float64(strictly)/float64(len(input)))
		require.LessOrEqual(t, strictly, fixed+96*len(input), name)
		for range 3 { // the runtime allocates something now and then
			used = min(used, allocated(func() { c := ei.NewCursor(input[1:]); _ = c.Skip() }))
		}
		require.LessOrEqual(t, used, 128, name)
	}
	for _, tc := range malformed {
		used := allocated(func() { _, _ = ei.Decode([]byte(tc.data)) })
		require.LessOrEqual(t, used, fixed+48*len(tc.data), tc.name)
	}
	for name, text := range map[string]string{
		"empty lists":   "[" + strings.Repeat("[],", 30_000) + "[]]",
		"lists":         strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000),
		"maps":          strings.Repeat("#{1=>", 20_000) + "2" + strings.Repeat("}", 20_000),
		"keys":          strings.Repeat("#{", 20_000) + "2" + strings.Repeat("=>1}", 20_000),
		"tuples":        "[" + strings.Repeat("{1},", 30_000) + "{}]",
		"text":          `"` + strings.Repeat("x", 60_000) + `"`,
		"wide text":     `"日` + strings.Repeat("x", 60_000) + `"`,
		"binary":        `<<"` + strings.Repeat("x", 60_000) + `">>`,
		"wide segments": "<<" + strings.Repeat("1:64,", 1000) + "1>>",
		"wide binaries": "[" + strings.Repeat("<<0:64>>,", 1000) + "0]",
		"digits":        strings.Repeat("9", 60_000),
		"hexadecimal":   "16#" + strings.Repeat("f", 60_000),
		"tails":         strings.Repeat("[a|", 30_000) + "[" + strings.Repeat("1,", 30_000) + "1]" + strings.Repeat("]", 30_000),
		"map":           "#{" + strings.Repeat("a=>1,", 30_000) + "b=>1}",
	} {
		var err error
		used := allocated(func() { _, err = ei.Parse(text) })
		t.Logf("text: %-20s %6d bytes: %5.1f for each, %.40v", name, len(text), float64(used)/float64(len(text)), err)
		require.LessOrEqual(t, used, 1<<18+64*len(text), name)
	}
}
