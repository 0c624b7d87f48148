package debugz

// What tests read of the JSON.
type (
	View  = view
	Group = group
)
