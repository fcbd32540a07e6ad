"""Step 6: the inference engine, the HTTP API and the web page."""
