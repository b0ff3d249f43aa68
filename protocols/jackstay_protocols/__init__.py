"""The wire and the shared words of jackstay. Knows neither side: it imports no other room."""
