package pg

import (
	"github.com/cnode-go/cnode/ei"
)

// What a scope sends. A key is a group's encoded term.

func discoverMessage(self ei.Pid, version int) ei.Term {
	if version > 0 {
		return ei.Tuple{ei.Atom("discover"), self, ei.Int(highest)}
	}
	return ei.Tuple{ei.Atom("discover"), self}
}

// wholeMessage tells all members of this scope.
func wholeMessage(self ei.Pid, version int, groups map[string]*members) ei.Term {
	if version > 0 {
		data := make(ei.Map, 0, len(groups))
		for key, m := range groups {
			data = append(data, ei.Pair{Key: ei.Raw(key), Value: listOf(m.pids)})
		}
		return cast(ei.Tuple{ei.Atom("local_data"), self, ei.Int(highest), rawMap(data)})
	}
	data := make(ei.List, 0, len(groups))
	for key, m := range groups {
		data = append(data, ei.Tuple{ei.Raw(key), listOf(m.pids)})
	}
	return cast(ei.Tuple{ei.Atom("sync"), self, data})
}

// rawMap encodes a map whose keys are known to be distinct.
func rawMap(m ei.Map) ei.Term {
	b := ei.AppendMapHeader(nil, len(m))
	for _, p := range m {
		b = append(b, p.Key.(ei.Raw)...)
		b, _ = ei.AppendTerm(b, p.Value) // pids, which can be encoded
	}
	return ei.Raw(b)
}

func cast(t ei.Term) ei.Term { return ei.Tuple{ei.Atom("$gen_cast"), t} }

func listOf(pids []ei.Pid) ei.List {
	l := make(ei.List, len(pids))
	for i, pid := range pids {
		l[i] = pid
	}
	return l
}

// joinMessage tells of new members of a group.
func joinMessage(self ei.Pid, version int, key string, pids []ei.Pid) ei.Term {
	if version > 0 {
		return updateMessage(self, ei.Tuple{ei.Raw(key), listOf(pids), ei.List{}})
	}
	return ei.Tuple{ei.Atom("join"), self, ei.Raw(key), listOf(pids)}
}

// leaveMessage tells that the members have left each of the groups.
func leaveMessage(self ei.Pid, version int, pids []ei.Pid, keys []string) ei.Term {
	list := make(ei.List, len(keys))
	for i, key := range keys {
		if list[i] = ei.Raw(key); version > 0 {
			list[i] = ei.Tuple{ei.Raw(key), ei.List{}, listOf(pids)}
		}
	}
	if version > 0 {
		return updateMessage(self, list...)
	}
	return ei.Tuple{ei.Atom("leave"), self, listOf(pids), list}
}

func updateMessage(self ei.Pid, groups ...ei.Term) ei.Term {
	return ei.Tuple{ei.Atom("update"), self, ei.List(groups)}
}
