# The same without a Debian mirror.
FROM busybox
COPY index.html /www/
EXPOSE 80
CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
