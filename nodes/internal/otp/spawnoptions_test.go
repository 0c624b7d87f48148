package otp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// The options of a spawn request and their values, as OTP 25, 27 and 29 accept them; link and
// monitor options with priority are of OTP 28, async_dist is of OTP 26.
func TestSpawnOptions(t *testing.T) {
	for text, want := range map[string]SpawnOptions{
		"[{reply,no}]": {Quiet: true}, "[{reply,error_only}]": {Quiet: true}, "[{reply,success_only}]": {},
		"[]":                       {},
		"[link]":                   {Link: true},
		"[{link,[]}]":              {Link: true},
		"[{link,[priority]}]":      {Link: true},
		"[monitor]":                {Monitor: true},
		"[{monitor,[]},link,link]": {Link: true, Monitor: true},
		"[{monitor,[{tag,x}]}]":    {Monitor: true},
		"[{monitor,[{alias,demonitor},priority]}]":              {Monitor: true},
		"[{priority,normal},{priority,max}]":                    {},
		"[{message_queue_data,off_heap}]":                       {},
		"[{min_heap_size,0},{fullsweep_after,100000}]":          {},
		"[{min_bin_vheap_size,5},{scheduler,1}]":                {},
		"[{async_dist,true}]":                                   {},
		"[{max_heap_size,0}]":                                   {},
		"[{max_heap_size,233}]":                                 {},
		"[{max_heap_size,#{size=>100000,kill=>false,more=>1}}]": {},
	} {
		options, err := ei.Parse(text)
		require.NoError(t, err, text)
		raw, err := ei.AppendTerm(nil, options)
		require.NoError(t, err, text)
		got, err := ParseSpawnOptions(raw)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"x", "[link|monitor]", "[x]", "[1]", "[{}]", "[{priority,low,x}]", "[priority]", "[async_dist]", "[#{}]", "[[link]]",
		"[{reply,5},monitor]", "[reply]", "[{reply_tag,x}]", "[{group_leader,1}]", "[{link,x}]", "[{link,[x]}]", "[{monitor,x}]",
		"[{monitor,[x]}]",
		"[{monitor,[{alias,x}]}]", "[{monitor,[{tag,1,2}]}]",
		"[{priority,1}]", "[{priority,x}]", "[{message_queue_data,mixed}]", "[{message_queue_data,x}]", "[{async_dist,x}]",
		"[{min_heap_size,-1}]", "[{min_heap_size,x}]", "[{min_heap_size,4611686018427387904}]", "[{min_heap_size,99999999999999999999}]",
		"[{min_bin_vheap_size,-5}]", "[{fullsweep_after,-5}]", "[{scheduler,-1}]", "[{scheduler,x}]",
		"[{max_heap_size,-1}]", "[{max_heap_size,232}]", "[{max_heap_size,x}]", "[{max_heap_size,#{size=>-1}}]",
		"[{max_heap_size,#{kill=>true}}]",
		"[{max_heap_size,#{size=>100000,kill=>x}}]", "[{max_heap_size,#{size=>100000,error_logger=>x}}]",
	} {
		options, err := ei.Parse(text)
		require.NoError(t, err, text)
		raw, err := ei.AppendTerm(nil, options)
		require.NoError(t, err, text)
		_, err = ParseSpawnOptions(raw)
		require.ErrorIs(t, err, errSpawnOption, text)
	}
}
