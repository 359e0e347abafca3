"""The Studio: one aiohttp application that answers what ComfyUI's front end asks."""
