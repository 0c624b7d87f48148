# Browsers without LiveView. In the user socket: channel "prices:*", MyAppWeb.PriceChannel
defmodule MyAppWeb.PriceChannel do
  use MyAppWeb, :channel

  # ps.Push(ctx, "prices:all", "price", Price{"pear", 45}) comes to those who have joined, without a line here
  @impl true
  def join("prices:all", _payload, socket), do: {:ok, socket}
end
