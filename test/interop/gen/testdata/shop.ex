# The structs of a shop, as a team of Elixir has them.
defmodule Shop.Types do
  @type currency :: :eur | :usd
  @type pair(a, b) :: {a, b}
end

defmodule Shop.Line do
  @type t :: %__MODULE__{sku: String.t(), count: pos_integer(), price: float(), note: String.t() | nil, order: Shop.Order.t() | nil}
  defstruct [:note, :order, sku: "", count: 1, price: 0.0]
end

defmodule Shop.Order do
  @type status :: :new | :paid | :sent
  @type address :: %{:street => String.t(), :town => String.t(), optional(:zip) => String.t()}
  @type point :: {x :: float(), y :: float()}

  @type t :: %__MODULE__{
          id: non_neg_integer(),
          status: status(),
          was: [status()],
          lines: [Shop.Line.t()],
          first: Shop.Line.t() | nil,
          currency: Shop.Types.currency() | nil,
          address: address() | nil,
          at: point(),
          size: Shop.Types.pair(integer(), atom()),
          paid?: boolean(),
          on: Date.t() | nil,
          total: integer() | float(),
          tags: MapSet.t(String.t()),
          counts: %{optional(String.t()) => integer()},
          by_status: %{optional(status()) => String.t()},
          blob: binary(),
          owner: pid() | nil,
          options: keyword(integer()),
          name: charlist(),
          event: {:moved, String.t()} | nil,
          other: {:a, integer()} | {:b, float()} | nil,
          handler: module(),
          parent: t() | nil
        }

  defstruct [
    :first,
    :currency,
    :address,
    :on,
    :owner,
    :event,
    :other,
    :parent,
    id: 0,
    status: :new,
    was: [],
    lines: [],
    at: {0.0, 0.0},
    size: {0, :none},
    paid?: false,
    total: 0,
    tags: MapSet.new(),
    counts: %{},
    by_status: %{},
    blob: "",
    options: [],
    name: [],
    handler: Shop
  ]
end

# of no known types
defmodule Shop.Bare do
  defstruct name: "no \"name\"", n: 7, f: 1.5, yes: true, any: nil, list: [1]
end

defmodule Shop.Plain do
  def hello, do: :world
end
