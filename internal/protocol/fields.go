package protocol

import "github.com/cnode-go/cnode/nodes/dist"

// field is one element of a control tuple, behind the operation.
type field uint8

const (
	fieldNone     field = iota
	fieldFrom           // Control.From
	fieldFromProc       // Control.From or FromName
	fieldTo             // Control.To
	fieldToProc         // Control.To or ToName
	fieldToName         // Control.ToName
	fieldUnused         // '' on our side, anything on the peer's (once a cookie)
	fieldRef            // Control.Ref
	fieldID             // Control.ID
	fieldFlags          // Control.Flags
	fieldReason         // Control.Reason
	fieldToken          // Control.Token
	fieldLeader         // Control.GroupLeader
	fieldMFA            // Control.Module, Function, Arity
	fieldOptions        // Control.Options
	fieldResult         // Control.Result
	fieldAltact         // Control.To, ToName or Ref, by the flags
)

// fieldNames are what errors call a field.
var fieldNames = [...]string{
	fieldFrom: "From", fieldFromProc: "From", fieldTo: "To", fieldToProc: "To",
	fieldToName: "ToName", fieldUnused: "the unused element", fieldRef: "Ref", fieldID: "ID",
	fieldFlags: "Flags", fieldReason: "Reason", fieldToken: "Token", fieldLeader: "GroupLeader",
	fieldMFA: "Module, Function, Arity", fieldOptions: "Options", fieldResult: "Result", fieldAltact: "To",
}

// layouts are the elements of the tuple of each operation: parsing, encoding and the tests are
// driven by it. The token is there if the operation is traced, or its flags say so.
var layouts = [...][]field{
	dist.OpLink:                {fieldFrom, fieldTo},
	dist.OpSend:                {fieldUnused, fieldTo, fieldToken},
	dist.OpExit:                {fieldFrom, fieldTo, fieldToken, fieldReason},
	dist.OpUnlink:              {fieldFrom, fieldTo},
	dist.OpNodeLink:            nil,
	dist.OpRegSend:             {fieldFrom, fieldUnused, fieldToName, fieldToken},
	dist.OpGroupLeader:         {fieldFrom, fieldTo},
	dist.OpExit2:               {fieldFrom, fieldTo, fieldToken, fieldReason},
	dist.OpMonitorP:            {fieldFrom, fieldToProc, fieldRef},
	dist.OpDemonitorP:          {fieldFrom, fieldToProc, fieldRef},
	dist.OpMonitorPExit:        {fieldFromProc, fieldTo, fieldRef, fieldReason},
	dist.OpSendSender:          {fieldFrom, fieldTo, fieldToken},
	dist.OpPayloadExit:         {fieldFrom, fieldTo, fieldToken},
	dist.OpPayloadExit2:        {fieldFrom, fieldTo, fieldToken},
	dist.OpPayloadMonitorPExit: {fieldFromProc, fieldTo, fieldRef},
	dist.OpSpawnRequest:        {fieldRef, fieldFrom, fieldLeader, fieldMFA, fieldOptions, fieldToken},
	dist.OpSpawnReply:          {fieldRef, fieldTo, fieldFlags, fieldResult, fieldToken},
	dist.OpAliasSend:           {fieldFrom, fieldRef, fieldToken},
	dist.OpUnlinkID:            {fieldID, fieldFrom, fieldTo},
	dist.OpUnlinkIDAck:         {fieldID, fieldFrom, fieldTo},
	dist.OpAltactSigSend:       {fieldFlags, fieldFrom, fieldAltact, fieldToken},
}

// layoutOf gives the elements of op's tuple, and false for an unknown one.
func layoutOf(op dist.Op) ([]field, bool) {
	if !op.Known() {
		return nil, false
	}
	return layouts[op.Base()], true
}
